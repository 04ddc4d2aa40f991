// Ask a server that speaks TF Serving's REST interface to classify an image file, with fetch.
//
//     keras-wrn serve served
//     node examples/serving_client.mjs frog.png wrn [http://localhost:8501]
//
// `classify` runs in browsers too. A page of another origin needs a proxy that allows it (CORS).

export async function classify(bytes, model, url = "http://localhost:8501") {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  const reply = await fetch(`${url}/v1/models/${encodeURIComponent(model)}:predict`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      signature_name: "serving_bytes",
      instances: [{ image_bytes: { b64: btoa(binary) } }],
    }),
  });
  const content = await reply.json();
  if (!reply.ok) throw new Error(`${reply.status}: ${content.error}`);
  const [{ valid, top5_labels: labels, top5_scores: scores }] = content.predictions;
  if (!valid) throw new Error("The file is no readable image.");
  return labels.map((label, rank) => ({ label, score: scores[rank] }));
}

if (typeof process !== "undefined" && process.argv[1]?.endsWith("serving_client.mjs")) {
  const { readFile } = await import("node:fs/promises");
  const [file, model, url] = process.argv.slice(2);
  for (const { label, score } of await classify(await readFile(file), model, url)) {
    console.log(`${label} ${(100 * score).toFixed(1)} %`);
  }
}
