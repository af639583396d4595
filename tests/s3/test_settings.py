"""Settings of a bucket: public access block, object ownership, default encryption, and what cannot be set."""
import pytest

from conftest import code_of

FLAGS = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}


def test_public_access_block(s3, bucket):
    unset = (404, "NoSuchPublicAccessBlockConfiguration")
    assert code_of(s3.get_public_access_block, Bucket=bucket) == unset
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=FLAGS)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == FLAGS
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == {name: name == "BlockPublicAcls" for name in FLAGS}
    for _ in range(2):
        s3.delete_public_access_block(Bucket=bucket)
    assert code_of(s3.get_public_access_block, Bucket=bucket) == unset


def test_ownership(s3, bucket):
    def read():
        return s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]

    def put(value):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": value}]})

    assert read() == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    put("BucketOwnerPreferred")
    assert read() == [{"ObjectOwnership": "BucketOwnerPreferred"}]
    assert code_of(put, "Nobody") == (400, "MalformedXML")
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert code_of(read) == (404, "OwnershipControlsNotFoundError")
    assert code_of(s3.put_object_acl, Bucket=bucket, Key="k", ACL="public-read") == (404, "NoSuchKey")
    assert code_of(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == (400, "AccessControlListNotSupported")
    put("BucketOwnerEnforced")
    assert read() == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def encrypted(algo, key=None, bucket_key=None):
    by = {"SSEAlgorithm": algo}
    if key:
        by["KMSMasterKeyID"] = key
    rule = {"ApplyServerSideEncryptionByDefault": by}
    if bucket_key is not None:
        rule["BucketKeyEnabled"] = bucket_key
    return {"Rules": [rule]}


def test_default_encryption(s3, bucket):
    """Objects that say nothing of their encryption get the bucket's default: put, copied or made of parts."""
    def put(*rule):
        s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=encrypted(*rule))

    unset = (404, "ServerSideEncryptionConfigurationNotFoundError")
    assert code_of(s3.get_bucket_encryption, Bucket=bucket) == unset
    s3.put_object(Bucket=bucket, Key="before", Body=b"x")
    put("aws:kms", "alias/mine", True)
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == encrypted("aws:kms", "alias/mine", True)
    put_answer = s3.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "b"})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/before")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    part = {"PartNumber": 1, "ETag": s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": [part]})
    for told in (put_answer, *(s3.head_object(Bucket=bucket, Key=key) for key in ("k", "copy", "parts"))):
        assert (told["ServerSideEncryption"], told["SSEKMSKeyId"], told["BucketKeyEnabled"]) == ("aws:kms", "alias/mine", True)
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"a": "b"}
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="before")
    s3.put_object(Bucket=bucket, Key="own", Body=b"x", ServerSideEncryption="AES256")
    own = s3.head_object(Bucket=bucket, Key="own")
    assert own["ServerSideEncryption"] == "AES256" and "SSEKMSKeyId" not in own
    put("AES256")
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == encrypted("AES256", None, False)
    assert code_of(put, "rot13") == (400, "MalformedXML")
    assert code_of(put, "AES256", "alias/mine") == (400, "InvalidArgument")
    s3.delete_bucket_encryption(Bucket=bucket)
    assert code_of(s3.get_bucket_encryption, Bucket=bucket) == unset
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="after", Body=b"x")


@pytest.mark.parametrize("name", ["lifecycle", "policy", "replication", "website"])
def test_nothing_to_delete(s3, bucket, name):
    """What was never set is deleted with success, as on S3; of a bucket that is there."""
    call = getattr(s3, f"delete_bucket_{name}")
    assert call(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert code_of(call, Bucket=bucket + "-none") == (404, "NoSuchBucket")
