#!/bin/sh
# Builds the workflow's two images from this machine's Debian packages and pushes them to Quern's registry. Needs no internet. Argument: the quern program.
set -eu
quern=$1
here=$(cd "$(dirname "$0")" && pwd)
built_in=$(cd "$(dirname "$quern")/../libexec/quern/images" && pwd)
if [ -d "$built_in/python/packages" ]; then
	sdk="" add=$built_in/python/packages # the current AWS SDK
else
	sdk=python3-boto3 add=$built_in/python/endpoint_shim # Debian's, made to read AWS_ENDPOINT_URL
fi

"$quern" images build custom/process:1 --exclude '*/tests/*' \
	--packages python3 $sdk --packages python3-pandas \
	--add "$add:/opt/sdk" --add "$here/step.py:/opt/step.py" --add "$here/../article/preprocess.py:/opt/preprocess.py" \
	--env PYTHONPATH=/opt/sdk --env PYTHONUNBUFFERED=1 --entrypoint '["python3", "/opt/step.py"]'

"$quern" images build custom/train:1 --exclude '*/tests/*' --without python3-pythran \
	--packages python3 $sdk --packages python3-pandas --packages python3-xgboost libjansson4 \
	--add "$add:/opt/sdk" --add "$here/step.py:/opt/step.py" --add "$built_in/bin/quern-xgboost:/usr/local/bin/quern-xgboost" \
	--env PYTHONPATH=/opt/sdk --env PYTHONUNBUFFERED=1 --entrypoint '["python3", "/opt/step.py"]'
