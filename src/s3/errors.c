/* errors.c - S3's error codes with their statuses and standard texts ("Error responses", Amazon S3 API reference). */
#include "s3/room.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *code;
	int status;
	const char *text;
} codes[] = {
	{ "AccessControlListNotSupported", 400, "The bucket does not allow ACLs" },
	{ "AccessForbidden", 403, "Access Forbidden" },
	{ "AccessDenied", 403, "Access Denied" },
	{ "BadDigest", 400, "The Content-MD5 you specified did not match what we received." },
	{ "BadRequest", 400, "Bad Request" },
	{ "BucketAlreadyExists", 409,
	  "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
	  "Please select a different name and try again." },
	{ "BucketAlreadyOwnedByYou", 409,
	  "Your previous request to create the named bucket succeeded and you already own it." },
	{ "BucketNotEmpty", 409, "The bucket you tried to delete is not empty" },
	{ "ConditionalRequestConflict", 409,
	  "The conditional request cannot succeed due to a conflicting operation against this resource." },
	{ "EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size" },
	{ "EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed size" },
	{ "IllegalVersioningConfigurationException", 400, "The Versioning element must be specified" },
	{ "IncompleteBody", 400, "The request body terminated unexpectedly" },
	{ "InsufficientStorage", 507, "The disk is full. Nothing was changed." },
	{ "InternalError", 500, "We encountered an internal error. Please try again." },
	{ "InvalidArgument", 400, "Invalid Argument" },
	{ "InvalidBucketOwnerAWSAccountID", 400,
	  "The value of the expected bucket owner parameter must be an AWS Account ID" },
	{ "InvalidBucketName", 400, "The specified bucket is not valid." },
	{ "InvalidDigest", 400, "The Content-MD5 you specified was invalid." },
	{ "InvalidLocationConstraint", 400, "The specified location-constraint is not valid" },
	{ "InvalidPart", 400,
	  "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
	  "specified entity tag may not match the part's entity tag." },
	{ "InvalidPartNumber", 416, "The requested partnumber is not satisfiable" },
	{ "InvalidPartOrder", 400,
	  "The list of parts was not in ascending order. Parts must be ordered by part number." },
	{ "InvalidPolicyDocument", 400, "Invalid Policy: Invalid JSON." },
	{ "InvalidRange", 416, "The requested range is not satisfiable" },
	{ "InvalidRequest", 400, "Invalid Request" },
	{ "InvalidStorageClass", 400, "The storage class you specified is not valid" },
	{ "InvalidTag", 400, "The TagValue you have provided is invalid" },
	{ "InvalidURI", 400, "Couldn't parse the specified URI." },
	{ "KeyTooLongError", 400, "Your key is too long" },
	{ "MalformedPolicy", 400, "Invalid policy syntax." },
	{ "MalformedPOSTRequest", 400, "The body of your POST request is not well-formed multipart/form-data." },
	{ "MalformedXML", 400,
	  "The XML you provided was not well-formed or did not validate against our published schema" },
	{ "MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size" },
	{ "MethodNotAllowed", 405, "The specified method is not allowed against this resource." },
	{ "MissingContentLength", 411, "You must provide the Content-Length HTTP header." },
	{ "MissingRequestBodyError", 400, "Request Body is empty" },
	{ "NoSuchBucket", 404, "The specified bucket does not exist" },
	{ "NoSuchBucketPolicy", 404, "The bucket policy does not exist" },
	{ "NoSuchCORSConfiguration", 404, "The CORS configuration does not exist" },
	{ "NoSuchConfiguration", 404, "The specified configuration does not exist." },
	{ "NoSuchKey", 404, "The specified key does not exist." },
	{ "NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist" },
	{ "NoSuchObjectLockConfiguration", 404, "The specified object does not have a ObjectLock configuration" },
	{ "NoSuchPublicAccessBlockConfiguration", 404, "The public access block configuration was not found" },
	{ "NoSuchTagSet", 404, "The TagSet does not exist" },
	{ "NoSuchUpload", 404,
	  "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
	  "completed." },
	{ "NoSuchVersion", 404, "The specified version does not exist." },
	{ "NoSuchWebsiteConfiguration", 404, "The specified bucket does not have a website configuration" },
	{ "NotImplemented", 501, "A header you provided implies functionality that is not implemented" },
	{ "ObjectLockConfigurationNotFoundError", 404, "Object Lock configuration does not exist for this bucket" },
	{ "OwnershipControlsNotFoundError", 404, "The bucket ownership controls were not found" },
	{ "PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold" },
	{ "ReplicationConfigurationNotFoundError", 404, "The replication configuration was not found" },
	{ "ServerSideEncryptionConfigurationNotFoundError", 404,
	  "The server side encryption configuration was not found" },
	{ "TooManyBuckets", 400, "You have attempted to create more buckets than allowed" },
	{ "XAmzContentChecksumMismatch", 400,
	  "The provided 'x-amz-checksum' header does not match what was computed." },
	{ "XAmzContentSHA256Mismatch", 400,
	  "The provided 'x-amz-content-sha256' header does not match what was computed." },
};

static size_t find(const char *code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return i;
	BUG("S3 error code `%s` is not in the table", code);
}

void s3_error_put(struct error *err, const char *code)
{
	const size_t i = find(code);
	error_http(err, codes[i].status, code, "%s", codes[i].text);
}

int s3_error_text(struct error *err, const char *code, const char *fmt, ...)
{
	va_list ap;
	char *text;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		BUG("out of memory");
	va_end(ap);
	error_http(err, codes[find(code)].status, code, "%s", text);
	free(text);
	return -1;
}

int s3_error_status(const char *code)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].status;
	return 0;
}

int s3_error_argument(struct s3_call *c, struct error *err, const char *name, struct str value, const char *text)
{
	s3_call_detail(c, "ArgumentName", str_from(name));
	s3_call_detail(c, "ArgumentValue", value);
	return s3_error_text(err, "InvalidArgument", "%s", text);
}
