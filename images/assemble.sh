#!/bin/sh
# assemble.sh - puts the images directory together that Quern reads at run time (<images> in README.md).
#
#   images/assemble.sh DIR [TRAINER] [--no-packages]
#
# DIR      where to; made when it is missing, renewed when it is there
# TRAINER  the built quern-xgboost; left out when not given
# --no-packages  don't install the AWS SDK (the endpoint shim is used then); without network it is left out as well
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: assemble.sh DIR [TRAINER] [--no-packages]}
shift
packages=yes
mkdir -p "$dir/bin" "$dir/toolkit" "$dir/python"
for argument; do
	case $argument in
	--no-packages) packages=no ;;
	*) install -m 755 "$argument" "$dir/bin/quern-xgboost" ;;
	esac
done
install -m 644 "$here/images.json" "$dir/images.json"
install -m 755 "$here/toolkit/train" "$dir/toolkit/train"
rm -rf "$dir/toolkit/quern_toolkit" "$dir/python/endpoint_shim" "$dir/lambda"
mkdir "$dir/lambda" "$dir/toolkit/quern_toolkit" "$dir/python/endpoint_shim"
install -m 644 "$here"/toolkit/quern_toolkit/*.py "$dir/toolkit/quern_toolkit/"
install -m 644 "$here"/python/endpoint_shim/*.py "$dir/python/endpoint_shim/"
install -m 644 "$here"/lambda/bootstrap.* "$dir/lambda/"
/usr/bin/python3 -m compileall -q "$dir/toolkit/quern_toolkit" "$dir/python/endpoint_shim"

requirements=$here/python/requirements.txt
if [ "$packages" = yes ] && ! cmp -s "$requirements" "$dir/python/packages/.requirements.txt"; then
	rm -rf "$dir/python/packages.new" "$dir/python/packages"
	if /usr/bin/python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --require-hashes --retries 2 \
		--no-deps --target "$dir/python/packages.new" -r "$requirements" >"$dir/python/pip.log" 2>&1; then
		cp "$requirements" "$dir/python/packages.new/.requirements.txt"
		mv "$dir/python/packages.new" "$dir/python/packages"
	else
		rm -rf "$dir/python/packages.new"
		echo "the AWS SDK for the built-in images cannot be had from PyPI, the next make tries again: until then they have Debian's, with a shim" >&2
		tail -n 1 "$dir/python/pip.log" >&2
	fi
fi
