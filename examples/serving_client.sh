#!/bin/sh
# Ask a server that speaks TF Serving's REST interface to classify an image file, with curl.
#
#     keras-wrn serve served
#     sh examples/serving_client.sh frog.png wrn [http://localhost:8501]
set -eu
file=$1
model=$2
url=${3:-http://localhost:8501}

# The body goes through a pipe: an image may be longer than a command line.
{
    printf '{"signature_name": "serving_bytes", "instances": [{"image_bytes": {"b64": "'
    base64 < "$file" | tr -d '\n'
    printf '"}}]}'
} | curl --silent --show-error --fail-with-body --data-binary @- "$url/v1/models/$model:predict"
echo
