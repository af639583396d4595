"""Refusals whose code, text and further elements other projects recorded from S3 (LocalStack's validated snapshots)."""
import hashlib

import pytest
from botocore.exceptions import ClientError

from api.helpers import needs


def refused(call, status, code, text, **elements):
    with pytest.raises(ClientError) as error:
        call()
    answer = error.value.response
    told = answer["Error"]
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], told["Code"], told["Message"]) == (status, code, text)
    assert {name: told.get(name) for name in elements} == elements


def unknown_header(header, why):
    return {"status": 501, "code": "NotImplemented", "text": "A header you provided implies functionality that is not implemented", "Header": header, "additionalMessage": why}


def test_conditions_of_writes(s3, bucket):
    """A condition that S3 does not have is refused: nobody may believe that it held."""
    needs(s3, "PutObject", "IfNoneMatch")
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfNoneMatch='"x"'), **unknown_header("If-None-Match", "We don't accept the provided value of If-None-Match header for this API"))
    if "IfMatch" not in s3.meta.service_model.operation_model("PutObject").input_shape.members:
        return
    refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch="*"), **unknown_header("If-Match", "We don't accept the provided value of If-Match header for this API"))
    refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch=etag, IfNoneMatch="*"), **unknown_header("If-Match,If-None-Match", "Multiple conditional request headers present in the request"))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"one"


def test_conditions_of_copies(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["ETag"]
    text = "At least one of the pre-conditions you specified did not hold"
    refused(lambda: s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", CopySourceIfMatch='"x"'), 412, "PreconditionFailed", text, Condition="x-amz-copy-source-If-Match")
    refused(lambda: s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", CopySourceIfNoneMatch=etag), 412, "PreconditionFailed", text, Condition="x-amz-copy-source-If-None-Match")
    refused(lambda: s3.copy_object(Bucket=bucket, Key="c", CopySource="nothing"), 400, "InvalidArgument", "Invalid copy source object key", ArgumentName="x-amz-copy-source", ArgumentValue="x-amz-copy-source")


def test_copy_in_place_with_a_class(s3, bucket):
    """A storage class makes a copy in place legal, also the one that it has."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    assert s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", StorageClass="STANDARD")["CopyObjectResult"]["ETag"]
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k")
    assert "without changing" in error.value.response["Error"]["Message"]


def test_completion_repeats_the_checksums(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"one", ChecksumAlgorithm="SHA256")
    plain = {"PartNumber": 1, "ETag": part["ETag"]}

    def complete(*parts, **more):
        return s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": list(parts)}, **more)

    text = "The upload was created using a sha256 checksum. The complete request must include the checksum for each part. It was missing for part 1 in the request."
    refused(lambda: complete(plain), 400, "InvalidRequest", text)
    nothing = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    refused(lambda: s3.complete_multipart_upload(**nothing), 400, "InvalidRequest", "You must specify at least one part")
    wrong = {"PartNumber": 1, "ETag": '"' + "0" * 32 + '"', "ChecksumSHA256": part["ChecksumSHA256"]}
    with pytest.raises(ClientError) as error:
        complete(wrong)
    assert error.value.response["Error"]["ETag"] == "0" * 32
    if "ChecksumType" in s3.meta.service_model.operation_model("CompleteMultipartUpload").input_shape.members:
        text = "The upload was created using the COMPOSITE checksum mode. The complete request must use the same checksum mode."
        refused(lambda: complete(dict(plain, ChecksumSHA256=part["ChecksumSHA256"]), ChecksumType="FULL_OBJECT"), 400, "InvalidRequest", text)
    assert complete(dict(plain, ChecksumSHA256=part["ChecksumSHA256"]))["ChecksumSHA256"].endswith("-1")


def test_ranges_of_copied_parts(s3, bucket):
    s3.put_object(Bucket=bucket, Key="ten", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]

    def copy(wanted):
        return s3.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, CopySource=f"{bucket}/ten", CopySourceRange=wanted)

    refused(lambda: copy("bytes=0-100"), 400, "InvalidArgument", "Range specified is not valid for source object of size: 10", ArgumentName="x-amz-copy-source-range", ArgumentValue="bytes=0-100")
    refused(lambda: copy("bytes=100-200"), 400, "InvalidRequest", "The specified copy range is invalid for the source object size")
    assert copy("bytes=2-4")["CopyPartResult"]["ETag"] == '"' + hashlib.md5(b"234").hexdigest() + '"'


def test_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    tags = {"TagSet": [{"Key": "aws:mine", "Value": "v"}]}
    refused(lambda: s3.put_bucket_tagging(Bucket=bucket, Tagging=tags), 400, "InvalidTag", "System tags cannot be added/updated by requester", TagKey="aws:mine")
    refused(lambda: s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tags), 400, "InvalidTag", "Your TagKey cannot be prefixed with aws:", TagKey="aws:mine")
    text = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
    refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"", Tagging="a=1&a=2"), 400, "InvalidArgument", text, ArgumentName="x-amz-tagging", ArgumentValue="a=1&a=2")


def test_buckets(s3, bucket):
    refused(lambda: s3.create_bucket(Bucket=bucket + "-x", CreateBucketConfiguration={"LocationConstraint": "us-east-1"}), 400, "InvalidLocationConstraint", "The specified location-constraint is not valid", LocationConstraint="us-east-1")
    refused(lambda: s3.get_bucket_policy(Bucket=bucket), 404, "NoSuchBucketPolicy", "The bucket policy does not exist", BucketName=bucket)
    text = "The value of the expected bucket owner parameter must be an AWS Account ID... [abcd]"
    refused(lambda: s3.list_objects_v2(Bucket=bucket, ExpectedBucketOwner="abcd"), 400, "InvalidBucketOwnerAWSAccountID", text)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.delete_object(Bucket=bucket, Key="k")
    refused(lambda: s3.delete_bucket(Bucket=bucket), 409, "BucketNotEmpty", "The bucket you tried to delete is not empty. You must delete all versions in the bucket.", BucketName=bucket)


def test_digests(s3, bucket):
    refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5="__invalid__"), 400, "InvalidDigest", "The Content-MD5 you specified was invalid.", **{"Content-MD5": "__invalid__"})
    given = "QVKQdpWURg4uSFkikE80XQ=="  # of "y"
    refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=given), 400, "BadDigest", "The Content-MD5 you specified did not match what we received.", ExpectedDigest=hashlib.md5(b"y").hexdigest(), CalculatedDigest="ndTkYSaMgDT1yFZOFVxnpg==")
