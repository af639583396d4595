"""The article's two-stage pipeline: process data, then train XGBoost.

This is the article's listing with the four edits that the stock SDK and any executor demand; each is marked (1) to (4).
Run it with `quern run pipeline.py`.
"""

import os

import sagemaker
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.processing import ProcessingOutput, ScriptProcessor
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.steps import ProcessingStep, TrainingStep

session = sagemaker.Session()
role = sagemaker.get_execution_role()
here = os.path.dirname(os.path.abspath(__file__))

# Processing step: clean and transform data
processor = ScriptProcessor(
    role=role,
    image_uri="246618743249.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:0.23-1-cpu-py3",
    command=["python3"],  # (1) the SDK needs to know what runs the script
    instance_count=1,
    instance_type="ml.m5.xlarge",
)

process_step = ProcessingStep(
    name="ProcessData",
    processor=processor,
    code=os.path.join(here, "preprocess.py"),
    job_arguments=["--input", "s3://my-bucket/raw-data"],
    outputs=[  # (2) what the step hands on
        ProcessingOutput(output_name="train", source="/opt/ml/processing/train"),
        ProcessingOutput(output_name="validation", source="/opt/ml/processing/validation"),
    ],
)

# Training step: train XGBoost model
xgb = Estimator(
    image_uri="683313688378.dkr.ecr.us-east-1.amazonaws.com/xgboost:1-cpu-py3",
    role=role,
    instance_count=1,
    instance_type="ml.m5.xlarge",
    output_path="s3://my-bucket/model-artifacts",
    hyperparameters={"num_round": 50, "objective": "reg:squarederror"},  # (3) num_round is required
)

outputs = process_step.properties.ProcessingOutputConfig.Outputs
train_step = TrainingStep(
    name="TrainModel",
    estimator=xgb,
    inputs={  # (4) one channel for each data set
        "train": TrainingInput(outputs["train"].S3Output.S3Uri, content_type="text/csv"),
        "validation": TrainingInput(outputs["validation"].S3Output.S3Uri, content_type="text/csv"),
    },
)

# Create and execute pipeline
pipeline = Pipeline(name="DataToModel", steps=[process_step, train_step])

if __name__ == "__main__":
    pipeline.upsert(role_arn=role)
    execution = pipeline.start()
    print(execution.arn)
