// The server's interface: models, streamed answers, and the same request as code.

const keyName = "fastvlm-api-key";

export const key = {
  get value() { return sessionStorage.getItem(keyName) ?? ""; },
  set value(text) { text ? sessionStorage.setItem(keyName, text) : sessionStorage.removeItem(keyName); },
};

/** What the server answered instead of what was asked for. */
export class ServerError extends Error {
  constructor(status, message, wait) {
    super(message);
    this.status = status;
    this.wait = wait; // seconds, where the server says when to come back
  }
}

const address = (path) => new URL(path, document.baseURI).href;
const headers = () => (key.value ? { Authorization: `Bearer ${key.value}` } : {});

async function refusal(response) {
  let message = `The server answered ${response.status}.`;
  try {
    message = (await response.json()).error?.message ?? message;
  } catch { /* not JSON */ }
  return new ServerError(response.status, message, Number(response.headers.get("Retry-After")) || 0);
}

/** The served models: id, and in `meta` what they are. */
export async function models() {
  const response = await fetch(address("v1/models"), { headers: headers() });
  if (!response.ok) throw await refusal(response);
  return (await response.json()).data;
}

export function body({ model, question, picture, resolution, maxTokens, temperature }) {
  return {
    model,
    messages: [{
      role: "user",
      content: [
        { type: "image_url", image_url: { url: picture } },
        { type: "text", text: question },
      ],
    }],
    max_tokens: maxTokens,
    temperature,
    resolution,
    stream: true,
    stream_options: { include_usage: true },
  };
}

/**
 * Asks, and calls `on.text(part)` for each part of the answer and `on.stage(name)` while it is waited for.
 * @returns {{timings, usage, reason}} what the last chunks said
 */
export async function ask(request, signal, on) {
  const response = await fetch(address("v1/chat/completions"), {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json" },
    body: JSON.stringify(body(request)),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  const end = { timings: null, usage: null, reason: null };
  for await (const line of lines(response.body)) {
    if (line.startsWith(":")) on.stage(line.slice(1).trim().split(/\s+/)[0]);
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return end;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ServerError(0, chunk.error.message ?? "The answer broke off.");
    end.timings = chunk.timings ?? end.timings;
    end.usage = chunk.usage ?? end.usage;
    const choice = chunk.choices?.[0];
    end.reason = choice?.finish_reason ?? end.reason;
    if (choice?.delta?.content) on.text(choice.delta.content);
  }
  throw new ServerError(0, "The connection broke off in the middle of the answer.");
}

async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split(/\r?\n/);
      rest = parts.pop();
      yield* parts;
    }
    if (rest) yield rest;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The request as a command for a shell, or as a Python program. */
export function code(language, request, fileName) {
  const base = address("v1").replace(/\/$/, "");
  const file = fileName || "photo.jpg";
  const needsKey = Boolean(key.value);
  if (language === "python") {
    return `import base64

from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key=${JSON.stringify(needsKey ? "YOUR-KEY" : "none")})
with open(${JSON.stringify(file)}, "rb") as picture:
    data = base64.b64encode(picture.read()).decode()
stream = client.chat.completions.create(
    model=${JSON.stringify(request.model)},
    max_tokens=${request.maxTokens},
    temperature=${request.temperature},${request.resolution ? `\n    extra_body={"resolution": ${request.resolution}},` : ""}
    stream=True,
    messages=[{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + data}},
        {"type": "text", "text": ${JSON.stringify(request.question)}},
    ]}],
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
  }
  const slot = "\u0000";
  const { stream_options: _, ...plain } = body({ ...request, picture: `data:image/jpeg;base64,${slot}` });
  // printf fills the picture in: its own % and \ are doubled, and the quotes of the shell are closed around each '.
  const format = JSON.stringify(plain, null, 1).replace(/\n */g, " ")
    .replaceAll("\\u0000", slot).replaceAll("\\", "\\\\").replaceAll("%", "%%").replaceAll("'", "'\\''")
    .replace(slot, "%s");
  const quoted = `'${file.replaceAll("'", "'\\''")}'`;
  return `printf '${format}' "$(base64 < ${quoted} | tr -d '\\n')" |
  curl -N ${base}/chat/completions -H 'Content-Type: application/json' ${needsKey ? "-H \"Authorization: Bearer $FASTVLM_API_KEY\" " : ""}-d @-
`;
}
