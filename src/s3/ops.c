/* ops.c - which operation a request asks for.
 *
 * DESIGN: the first row that fits wins: rows with a sub-resource come before the plain ones. What Quern doesn't have is listed too, so that
 * `PUT ?policy` is refused by name and never taken for CreateBucket. A fixed code other than NotImplemented is the true answer to a
 * question about a configuration that nobody can have set. */
#include "s3/room.h"

static const struct s3_op ops[] = {
	{ "ListBuckets", "GET", S3_SERVICE, NULL, NULL, S3_BODY_NONE, NULL, s3_list_buckets, NULL },
	{ "GetBucketLocation", "GET", S3_BUCKET, "location", NULL, S3_BODY_NONE, NULL, s3_get_bucket_location, NULL },
	{ "GetBucketVersioning", "GET", S3_BUCKET, "versioning", NULL, S3_BODY_NONE, NULL, s3_get_bucket_versioning, NULL },
	{ "ListObjectVersions", "GET", S3_BUCKET, "versions", NULL, S3_BODY_NONE, NULL, s3_list_versions, NULL },
	{ "ListMultipartUploads", "GET", S3_BUCKET, "uploads", NULL, S3_BODY_NONE, NULL, s3_list_uploads, NULL },
	{ "GetBucketTagging", "GET", S3_BUCKET, "tagging", NULL, S3_BODY_NONE, NULL, s3_get_bucket_tagging, NULL },
	{ "GetBucketCors", "GET", S3_BUCKET, "cors", NULL, S3_BODY_NONE, NULL, s3_get_bucket_cors, NULL },
	{ "GetBucketAcl", "GET", S3_BUCKET, "acl", NULL, S3_BODY_NONE, NULL, s3_get_bucket_acl, NULL },
	{ "GetBucketOwnershipControls", "GET", S3_BUCKET, "ownershipControls", NULL, S3_BODY_NONE, NULL, s3_get_bucket_ownership, NULL },
	{ "GetBucketRequestPayment", "GET", S3_BUCKET, "requestPayment", NULL, S3_BODY_NONE, NULL, s3_get_bucket_payer, NULL },
	{ "GetBucketLogging", "GET", S3_BUCKET, "logging", NULL, S3_BODY_NONE, NULL, s3_get_bucket_nothing, NULL },
	{ "GetBucketNotificationConfiguration", "GET", S3_BUCKET, "notification", NULL, S3_BODY_NONE, NULL, s3_get_bucket_nothing, NULL },
	{ "GetBucketAccelerateConfiguration", "GET", S3_BUCKET, "accelerate", NULL, S3_BODY_NONE, NULL, s3_get_bucket_nothing, NULL },
	{ "GetBucketPolicy", "GET", S3_BUCKET, "policy", NULL, S3_BODY_NONE, NULL, NULL, "NoSuchBucketPolicy" },
	{ "GetBucketPolicyStatus", "GET", S3_BUCKET, "policyStatus", NULL, S3_BODY_NONE, NULL, NULL, "NoSuchBucketPolicy" },
	{ "GetBucketLifecycleConfiguration", "GET", S3_BUCKET, "lifecycle", NULL, S3_BODY_NONE, NULL, NULL, "NoSuchLifecycleConfiguration" },
	{ "GetBucketReplication", "GET", S3_BUCKET, "replication", NULL, S3_BODY_NONE, NULL, NULL, "ReplicationConfigurationNotFoundError" },
	{ "GetBucketEncryption", "GET", S3_BUCKET, "encryption", NULL, S3_BODY_NONE, NULL, NULL, "ServerSideEncryptionConfigurationNotFoundError" },
	{ "GetBucketWebsite", "GET", S3_BUCKET, "website", NULL, S3_BODY_NONE, NULL, NULL, "NoSuchWebsiteConfiguration" },
	{ "GetObjectLockConfiguration", "GET", S3_BUCKET, "object-lock", NULL, S3_BODY_NONE, NULL, NULL, "ObjectLockConfigurationNotFoundError" },
	{ "GetPublicAccessBlock", "GET", S3_BUCKET, "publicAccessBlock", NULL, S3_BODY_NONE, NULL, NULL, "NoSuchPublicAccessBlockConfiguration" },
	{ "GetBucketAnalyticsConfiguration", "GET", S3_BUCKET, "analytics", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetBucketIntelligentTieringConfiguration", "GET", S3_BUCKET, "intelligent-tiering", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetBucketInventoryConfiguration", "GET", S3_BUCKET, "inventory", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetBucketMetricsConfiguration", "GET", S3_BUCKET, "metrics", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetBucketMetadataConfiguration", "GET", S3_BUCKET, "metadataConfiguration", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetBucketMetadataTableConfiguration", "GET", S3_BUCKET, "metadataTable", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetBucketAbac", "GET", S3_BUCKET, "abac", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "CreateSession", "GET", S3_BUCKET, "session", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "ListObjectsV2", "GET", S3_BUCKET, "list-type", NULL, S3_BODY_NONE, NULL, s3_list_objects_v2, NULL },
	{ "ListObjects", "GET", S3_BUCKET, NULL, NULL, S3_BODY_NONE, NULL, s3_list_objects, NULL },
	{ "HeadBucket", "HEAD", S3_BUCKET, NULL, NULL, S3_BODY_NONE, NULL, s3_head_bucket, NULL },
	{ "PutBucketVersioning", "PUT", S3_BUCKET, "versioning", NULL, S3_BODY_XML, NULL, s3_put_bucket_versioning, NULL },
	{ "PutBucketTagging", "PUT", S3_BUCKET, "tagging", NULL, S3_BODY_XML, NULL, s3_put_bucket_tagging, NULL },
	{ "PutBucketCors", "PUT", S3_BUCKET, "cors", NULL, S3_BODY_XML, NULL, s3_put_bucket_cors, NULL },
	{ "PutBucketAcl", "PUT", S3_BUCKET, "acl", NULL, S3_BODY_XML, NULL, s3_put_acl, NULL },
	{ "PutBucketAbac", "PUT", S3_BUCKET, "abac", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketAccelerateConfiguration", "PUT", S3_BUCKET, "accelerate", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketAnalyticsConfiguration", "PUT", S3_BUCKET, "analytics", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketEncryption", "PUT", S3_BUCKET, "encryption", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketIntelligentTieringConfiguration", "PUT", S3_BUCKET, "intelligent-tiering", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketInventoryConfiguration", "PUT", S3_BUCKET, "inventory", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketLifecycleConfiguration", "PUT", S3_BUCKET, "lifecycle", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketLogging", "PUT", S3_BUCKET, "logging", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketMetricsConfiguration", "PUT", S3_BUCKET, "metrics", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketNotificationConfiguration", "PUT", S3_BUCKET, "notification", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketOwnershipControls", "PUT", S3_BUCKET, "ownershipControls", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketPolicy", "PUT", S3_BUCKET, "policy", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketReplication", "PUT", S3_BUCKET, "replication", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketRequestPayment", "PUT", S3_BUCKET, "requestPayment", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutBucketWebsite", "PUT", S3_BUCKET, "website", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutObjectLockConfiguration", "PUT", S3_BUCKET, "object-lock", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutPublicAccessBlock", "PUT", S3_BUCKET, "publicAccessBlock", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "UpdateBucketMetadataAnnotationTableConfiguration", "PUT", S3_BUCKET, "metadataAnnotationTable", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "UpdateBucketMetadataInventoryTableConfiguration", "PUT", S3_BUCKET, "metadataInventoryTable", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "UpdateBucketMetadataJournalTableConfiguration", "PUT", S3_BUCKET, "metadataJournalTable", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "CreateBucket", "PUT", S3_BUCKET, NULL, NULL, S3_BODY_XML, NULL, s3_create_bucket_call, NULL },
	{ "DeleteObjects", "POST", S3_BUCKET, "delete", NULL, S3_BODY_XML, NULL, s3_delete_objects, NULL },
	{ "CreateBucketMetadataConfiguration", "POST", S3_BUCKET, "metadataConfiguration", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "CreateBucketMetadataTableConfiguration", "POST", S3_BUCKET, "metadataTable", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PostObject", "POST", S3_BUCKET, NULL, NULL, S3_BODY_FORM, s3_post_begin, s3_post_object, NULL },
	{ "DeleteBucketTagging", "DELETE", S3_BUCKET, "tagging", NULL, S3_BODY_NONE, NULL, s3_delete_bucket_tagging, NULL },
	{ "DeleteBucketCors", "DELETE", S3_BUCKET, "cors", NULL, S3_BODY_NONE, NULL, s3_delete_bucket_cors, NULL },
	{ "DeleteBucketAnalyticsConfiguration", "DELETE", S3_BUCKET, "analytics", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketEncryption", "DELETE", S3_BUCKET, "encryption", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketIntelligentTieringConfiguration", "DELETE", S3_BUCKET, "intelligent-tiering", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketInventoryConfiguration", "DELETE", S3_BUCKET, "inventory", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketLifecycle", "DELETE", S3_BUCKET, "lifecycle", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketMetadataConfiguration", "DELETE", S3_BUCKET, "metadataConfiguration", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketMetadataTableConfiguration", "DELETE", S3_BUCKET, "metadataTable", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketMetricsConfiguration", "DELETE", S3_BUCKET, "metrics", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketOwnershipControls", "DELETE", S3_BUCKET, "ownershipControls", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketPolicy", "DELETE", S3_BUCKET, "policy", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketReplication", "DELETE", S3_BUCKET, "replication", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucketWebsite", "DELETE", S3_BUCKET, "website", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeletePublicAccessBlock", "DELETE", S3_BUCKET, "publicAccessBlock", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteBucket", "DELETE", S3_BUCKET, NULL, NULL, S3_BODY_NONE, NULL, s3_delete_bucket, NULL },
	{ "OptionsBucket", "OPTIONS", S3_BUCKET, NULL, NULL, S3_BODY_NONE, NULL, s3_options, NULL },
	{ "ListParts", "GET", S3_OBJECT, "uploadId", NULL, S3_BODY_NONE, NULL, s3_list_parts, NULL },
	{ "GetObjectTagging", "GET", S3_OBJECT, "tagging", NULL, S3_BODY_NONE, NULL, s3_get_object_tagging, NULL },
	{ "GetObjectAttributes", "GET", S3_OBJECT, "attributes", NULL, S3_BODY_NONE, NULL, s3_get_object_attributes, NULL },
	{ "GetObjectAcl", "GET", S3_OBJECT, "acl", NULL, S3_BODY_NONE, NULL, s3_get_object_acl, NULL },
	{ "GetObjectLegalHold", "GET", S3_OBJECT, "legal-hold", NULL, S3_BODY_NONE, NULL, NULL, "NoSuchObjectLockConfiguration" },
	{ "GetObjectRetention", "GET", S3_OBJECT, "retention", NULL, S3_BODY_NONE, NULL, NULL, "NoSuchObjectLockConfiguration" },
	{ "GetObjectTorrent", "GET", S3_OBJECT, "torrent", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetObjectAnnotation", "GET", S3_OBJECT, "annotation", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "GetObject", "GET", S3_OBJECT, NULL, NULL, S3_BODY_NONE, NULL, s3_get_object, NULL },
	{ "HeadObject", "HEAD", S3_OBJECT, NULL, NULL, S3_BODY_NONE, NULL, s3_get_object, NULL },
	{ "PutObjectTagging", "PUT", S3_OBJECT, "tagging", NULL, S3_BODY_XML, NULL, s3_put_object_tagging, NULL },
	{ "PutObjectAcl", "PUT", S3_OBJECT, "acl", NULL, S3_BODY_XML, NULL, s3_put_acl, NULL },
	{ "PutObjectLegalHold", "PUT", S3_OBJECT, "legal-hold", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutObjectRetention", "PUT", S3_OBJECT, "retention", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "PutObjectAnnotation", "PUT", S3_OBJECT, "annotation", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "RenameObject", "PUT", S3_OBJECT, "renameObject", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "UpdateObjectEncryption", "PUT", S3_OBJECT, "encryption", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "UploadPartCopy", "PUT", S3_OBJECT, "uploadId", "x-amz-copy-source", S3_BODY_NONE, NULL, s3_upload_part_copy, NULL },
	{ "UploadPart", "PUT", S3_OBJECT, "uploadId", NULL, S3_BODY_DATA, s3_part_begin, s3_upload_part, NULL },
	{ "CopyObject", "PUT", S3_OBJECT, NULL, "x-amz-copy-source", S3_BODY_NONE, NULL, s3_copy_object, NULL },
	{ "PutObject", "PUT", S3_OBJECT, NULL, NULL, S3_BODY_DATA, s3_put_begin, s3_put_object, NULL },
	{ "CreateMultipartUpload", "POST", S3_OBJECT, "uploads", NULL, S3_BODY_NONE, NULL, s3_create_upload, NULL },
	{ "CompleteMultipartUpload", "POST", S3_OBJECT, "uploadId", NULL, S3_BODY_XML, s3_complete_begin, s3_complete_upload, NULL },
	{ "RestoreObject", "POST", S3_OBJECT, "restore", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "SelectObjectContent", "POST", S3_OBJECT, "select", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "AbortMultipartUpload", "DELETE", S3_OBJECT, "uploadId", NULL, S3_BODY_NONE, NULL, s3_abort_upload, NULL },
	{ "DeleteObjectTagging", "DELETE", S3_OBJECT, "tagging", NULL, S3_BODY_NONE, NULL, s3_delete_object_tagging, NULL },
	{ "DeleteObjectAnnotation", "DELETE", S3_OBJECT, "annotation", NULL, S3_BODY_NONE, NULL, NULL, "NotImplemented" },
	{ "DeleteObject", "DELETE", S3_OBJECT, NULL, NULL, S3_BODY_NONE, NULL, s3_delete_object, NULL },
	{ "OptionsObject", "OPTIONS", S3_OBJECT, NULL, NULL, S3_BODY_NONE, NULL, s3_options, NULL },
};

const struct s3_op *s3_op_find(struct s3_call *c, enum s3_level level)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		const struct s3_op *op = &ops[i];
		bool present = op->arg == NULL;
		if (op->level != level || !str_eqz(c->method, op->method))
			continue;
		if (op->arg)
			wire_query_arg(c->r, op->arg, &present);
		if (present && (!op->header || s3_call_header(c, op->header).ptr))
			return op;
	}
	return NULL;
}

const char *s3_operation_at(size_t i)
{
	for (size_t k = 0; k < sizeof(ops) / sizeof(*ops); k++)
		if (ops[k].run && i-- == 0)
			return ops[k].name;
	return NULL;
}
