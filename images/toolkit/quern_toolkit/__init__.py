"""The launcher of the built-in images: runs a user's training script as SageMaker's framework containers do.

DESIGN: standard library only, and only what every job needs is imported at start. main decides between the built-in
algorithm and a script; environment reads the job's configuration and spells it as SM_* variables; code fetches the
script and its requirements; process runs it; failure reports. boto3 is imported when code has to come from S3.
"""
