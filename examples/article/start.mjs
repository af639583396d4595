// Starts the article's pipeline from its JSON definition with the AWS SDK for JavaScript, and waits for it. Needs @aws-sdk/client-sagemaker and
// @aws-sdk/client-s3, and the environment of `quern env`. Prints the execution's ARN and status.
import { readFileSync } from "node:fs";
import { CreateBucketCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import * as sm from "@aws-sdk/client-sagemaker";

const here = new URL(".", import.meta.url);
const account = process.env.QUERN_ACCOUNT ?? "000000000000";
const s3 = new S3Client({ forcePathStyle: true });
const sagemaker = new sm.SageMakerClient({});
const name = process.argv[2] ?? "DataToModelJs";

for (const Bucket of ["my-bucket", `sagemaker-us-east-1-${account}`])
  await s3.send(new CreateBucketCommand({ Bucket })).catch((error) => {
    if (error.name !== "BucketAlreadyOwnedByYou") throw error;
  });
for (const [key, file] of [["code/preprocess.py", "preprocess.py"], ["raw-data/abalone-dataset.csv", "data/abalone-dataset.csv"]])
  await s3.send(new PutObjectCommand({ Bucket: "my-bucket", Key: key, Body: readFileSync(new URL(file, here)) }));

const request = {
  PipelineName: name,
  PipelineDefinition: readFileSync(new URL("definition.json", here), "utf8").replaceAll("${AccountId}", account),
  RoleArn: `arn:aws:iam::${account}:role/service-role/QuernExecutionRole`,
};
try {
  await sagemaker.send(new sm.CreatePipelineCommand(request));
} catch (error) {
  if (!/already exists/.test(error.message)) throw error;
  await sagemaker.send(new sm.UpdatePipelineCommand(request));
}
const { PipelineExecutionArn } = await sagemaker.send(new sm.StartPipelineExecutionCommand({ PipelineName: name }));
let status;
do {
  await new Promise((resolve) => setTimeout(resolve, 200));
  status = (await sagemaker.send(new sm.DescribePipelineExecutionCommand({ PipelineExecutionArn }))).PipelineExecutionStatus;
} while (status === "Executing");
console.log(JSON.stringify({ PipelineExecutionArn, status }));
process.exit(status === "Succeeded" ? 0 : 1);
