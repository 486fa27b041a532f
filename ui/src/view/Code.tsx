// A policy to take away.
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { Copy } from "./icons";

/** Keys of YAML in another colour; enough for policies. */
function colored(text: string): ComponentChildren[] {
  return text.split("\n").map((row, index) => {
    const match = /^(\s*(?:- )*)([^\s:#][^:#]*)(:)(.*)$/.exec(row);
    return (
      <span key={index}>
        {match ? <>{match[1]}<span class="k">{match[2]}</span>{match[3]}{match[4]}</> : row}
        {"\n"}
      </span>
    );
  });
}

export function Code({ text, file }: { text: string; file: string }): JSX.Element {
  const done = useSignal("");
  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      done.value = "Copied";
    } catch {
      done.value = "The browser does not allow copying; select the text";
    }
    setTimeout(() => { done.value = ""; }, 2500);
  }
  const url = `data:application/yaml;charset=utf-8,${encodeURIComponent(text)}`;
  return (
    <div class="code">
      <pre tabIndex={0} aria-label={file}>{colored(text.trimEnd())}</pre>
      <div class="bar">
        <button type="button" class="button small" onClick={() => void copy()}><Copy /> Copy</button>
        <a class="button small" style={{ color: "inherit", textDecoration: "none" }} href={url} download={file}>Download</a>
        <span class="note" role="status" style={{ alignSelf: "center" }}>{done.value}</span>
      </div>
    </div>
  );
}

/** An object as YAML: plain, in the order it has. */
export function toYaml(value: unknown, indent = ""): string {
  const scalar = (item: unknown): string => {
    if (typeof item !== "string") return JSON.stringify(item);
    return /^[A-Za-z_/.*][A-Za-z0-9_/.*@-]*$/.test(item) && !/^(true|false|yes|no|null|on|off|y|n)$/i.test(item) ? item : JSON.stringify(item);
  };
  if (Array.isArray(value)) {
    if (value.length === 0) return `${indent}[]\n`;
    return value.map((item) => (item !== null && typeof item === "object" && Object.keys(item).length ? `${indent}- ${toYaml(item, `${indent}  `).trimStart()}` : `${indent}- ${item !== null && typeof item === "object" ? (Array.isArray(item) ? "[]" : "{}") : scalar(item)}\n`)).join("");
  }
  if (value !== null && typeof value === "object") {
    return Object.entries(value).map(([key, item]) => {
      const name = scalar(key);
      if (item !== null && typeof item === "object") {
        if (Object.keys(item).length === 0) return `${indent}${name}: ${Array.isArray(item) ? "[]" : "{}"}\n`;
        return `${indent}${name}:\n${toYaml(item, `${indent}  `)}`;
      }
      return `${indent}${name}: ${scalar(item)}\n`;
    }).join("");
  }
  return `${indent}${scalar(value)}\n`;
}
