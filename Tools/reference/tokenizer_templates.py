"""Makes Tests/Fixtures/tokenizer/templates.json: chat templates built like the published ones, and what the Jinja of
transformers renders of conversations with them.

    python Tools/reference/tokenizer_templates.py

Each has the format that its family's published template has, with the constructs that published templates use for it.
"""

import argparse
import json
from pathlib import Path

import transformers
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = Path(__file__).resolve().parents[2]

CHATML = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
SYSTEM<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

# With tools, as newer language models have them.
TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Functions\\n" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<call>' + tool_call.name ~ (tool_call.arguments | tojson) }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n' + message.content }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

# A model that thinks: a namespace, a walk backwards, string methods.
THINKS = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and message.content is string and not(message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thoughts = '' %}
        {%- if message.thoughts is string %}
            {%- set thoughts = message.thoughts %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set thoughts = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_index and (loop.last or (not loop.last and thoughts)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + thoughts.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

# Of processors: contents in parts, images first.
PARTS = """{%- if messages[0]['role'] != 'system' -%}
{{ '<|im_start|>system\\nSYSTEM<|im_end|>\\n' }}
{%- endif -%}
{# Contents are texts or lists. #}
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string -%}
{{ message['content'] }}
{%- else -%}
{%- set images = message['content'] | selectattr('type', 'equalto', 'image') | list -%}
{{ '<image>' * (images | length) }}
{%- for part in message['content'] if part['type'] == 'text' -%}
{{ ('\\n' if images else '') + part['text'] }}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""

LLAVA = """{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}{# Images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}{% if message['role'] != 'assistant' %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}{{ content['text'] + ' ' }}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""

VICUNA = """{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set turns = messages %}{% set system = "SYSTEM" %}{% endif %}{{ system + ' ' }}{% for message in turns %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

LLAMA3 = """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

BOS = {"bos_token": "<s>", "eos_token": "</s>"}
QWEN_25 = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
QWEN_2 = "You are a helpful assistant."
SMOL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
VICUNA_SYSTEM = ("A chat between a curious user and an artificial intelligence assistant. "
                 "The assistant gives helpful, detailed, and polite answers to the user's questions.")
PIRATE = "Answer like a pirate. Always."

# Name, source, special tokens, template to be recognised, its default system prompt.
TEMPLATES = [
    ("chatml, Qwen2's system prompt", CHATML.replace("SYSTEM", QWEN_2), {}, "qwen_2", QWEN_2),
    ("chatml, SmolLM2's system prompt", CHATML.replace("SYSTEM", SMOL), {}, "smollm_2", SMOL),
    ("chatml without system prompt", CHATML.replace("loop.first and", "false and"), {}, "chatml", None),
    ("chatml, own system prompt", CHATML.replace("SYSTEM", PIRATE), {}, "chatml", PIRATE),
    ("chatml with tools, Qwen2.5's system prompt", TOOLS.replace("SYSTEM", QWEN_25), {}, "qwen_2_5", QWEN_25),
    ("chatml that thinks", THINKS, {}, "chatml", None),
    ("chatml in parts", PARTS.replace("SYSTEM", QWEN_2), {}, "qwen_2", QWEN_2),
    ("chatml with carriage returns", CHATML.replace("SYSTEM", QWEN_2).replace("\n", "\r\n"), {}, "qwen_2", QWEN_2),
    ("vicuna", VICUNA.replace("SYSTEM", VICUNA_SYSTEM), BOS, "vicuna_v1", VICUNA_SYSTEM),
    ("llava of the hub", LLAVA, BOS, "llava_1_5", None),
    ("llama 2", LLAMA2, BOS, "llama_2", None),
    ("llama 3", LLAMA3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, "llama_3", None),
    ("llama 3 without bos", LLAMA3.replace("bos_token", "''"), {"bos_token": "<|begin_of_text|>"}, "llama_3", None),
    ("unknown: other marks", CHATML.replace("im_start", "start"), {}, None, None),
    ("unknown: forgets the answers", CHATML.replace("{{'<|im_start|>' + m", "{{'' if message['role'] == 'assistant' else '<|im_start|>' + m"), {}, None, None),
    ("unknown: words after the question", CHATML.replace("+ '<|im_end|>' + '", "+ ' Be brief.<|im_end|>' + '"), {}, None, None),
    ("unknown: today's date", "{{ strftime_now('%d %b %Y') }}" + CHATML, {}, None, None),
]

TALKS = [
    [("user", "What is it?")],
    [("user", "What is it?"), ("assistant", "A cat."), ("user", "Sure?")],
    [("user", "  What is it? \n"), ("assistant", " A cat.\n"), ("user", "Sure?"), ("assistant", "No."), ("user", "\nSo?")],
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "Tests/Fixtures/tokenizer/templates.json")
    arguments = parser.parse_args()
    rows = []
    for name, source, tokens, recognised, system in TEMPLATES:
        parts = "selectattr" in source
        renders = []
        for talk in TALKS:
            for turns in (talk, [("system", "Be kind.")] + talk):
                if "today" in name:
                    continue
                for images in ([False, True] if parts else [False]):
                    messages = []
                    for place, (role, text) in enumerate(turns):
                        content = [{"type": "text", "text": text}] if parts else text
                        if images and role == "user" and place < 2:
                            content = [{"type": "image"}] + content
                        messages.append({"role": role, "content": content})
                    rendered, _ = render_jinja_template(
                        conversations=[messages], chat_template=source, add_generation_prompt=True,
                        **({"bos_token": "", "eos_token": ""} | tokens))
                    renders.append({"turns": [list(t) for t in turns], "images": images, "text": rendered[0]})
        rows.append({"name": name, "source": source, "tokens": tokens, "recognised": recognised, "system": system,
                     "parts": parts, "renders": renders})
    result = {"generator": "Tools/reference/tokenizer_templates.py", "transformers": transformers.__version__,
              "templates": rows}
    data = json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n"
    arguments.output.write_text(data)
    print(arguments.output, f"{len(data.encode()):,} bytes, {len(rows)} templates")


if __name__ == "__main__":
    main()
