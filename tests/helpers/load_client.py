"""Send one image file over and over from several threads; a program of its own.

python load_client.py URL FILE SECONDS CLIENTS prints a line of JSON for every second, and at the
end {"answered", "failed", "half", "most", "longest", "versions"}; the times are in milliseconds.
"""

import base64
import collections
import json
import sys
import threading
import time
import urllib.request
from pathlib import Path


def main(url, file, seconds, clients):
    image = {"b64": base64.b64encode(Path(file).read_bytes()).decode()}
    body = json.dumps({"signature_name": "serving_bytes", "instances": [image]}).encode()
    times, failures, versions = [], [], collections.Counter()
    end = time.monotonic() + float(seconds)

    def ask():
        while time.monotonic() < end:
            start = time.monotonic()
            try:
                with urllib.request.urlopen(url, body, timeout=60) as reply:
                    reply.read()
                    versions[reply.headers["x-model-version"]] += 1
            except OSError as error:
                failures.append(str(error))
            times.append(1000 * (time.monotonic() - start))

    threads = [threading.Thread(target=ask) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        print(json.dumps({"versions": dict(versions)}), flush=True)
    times.sort()
    half, most = (times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    found = {"answered": sum(versions.values()), "failed": len(failures), "why": failures[:3]}
    found |= {"half": half, "most": most, "longest": times[-1], "versions": dict(versions)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
