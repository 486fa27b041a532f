// A button with a list under it: closes with Escape, a click elsewhere, or when focus leaves.
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Caret } from "./icons";

interface MenuProps {
  label: string;
  title: ComponentChildren;
  children: (close: () => void) => ComponentChildren;
}

export function Menu(props: MenuProps): JSX.Element {
  const open = useSignal(false);
  const anchor = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    open.value = false;
    button.current?.focus();
  };
  useEffect(() => {
    if (!open.value) return undefined;
    const away = (event: Event) => {
      if (!anchor.current?.contains(event.target as Node)) open.value = false;
    };
    document.addEventListener("pointerdown", away);
    document.addEventListener("focusin", away);
    return () => {
      document.removeEventListener("pointerdown", away);
      document.removeEventListener("focusin", away);
    };
  }, [open.value]);
  return (
    <div class="menu-anchor" ref={anchor} onKeyDown={(event) => { if (event.key === "Escape" && open.value) { event.stopPropagation(); close(); } }}>
      <button type="button" ref={button} class="button" aria-haspopup="true" aria-expanded={open.value} aria-label={props.label} onClick={() => { open.value = !open.value; }}>
        {props.title}
        <Caret class="caret" />
      </button>
      {open.value && <div class="menu">{props.children(close)}</div>}
    </div>
  );
}

interface ChoiceProps {
  label: string;
  options: readonly { value: string; text: string }[];
  selected: string;
  onPick: (value: string) => void;
  search?: string;
}

/** A list to pick one of, with a field to narrow it when it is long. */
export function Choice(props: ChoiceProps): JSX.Element {
  const text = useSignal("");
  const at = useSignal(Math.max(0, props.options.findIndex((option) => option.value === props.selected)));
  const field = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const shown = props.options.filter((option) => option.text.toLowerCase().includes(text.value.toLowerCase()));
  useEffect(() => (field.current ?? list.current)?.focus(), []);
  function onKeyDown(event: KeyboardEvent): void {
    if (event.key === "ArrowDown") at.value = Math.min(shown.length - 1, at.value + 1);
    else if (event.key === "ArrowUp") at.value = Math.max(0, at.value - 1);
    else if (event.key === "Enter") {
      const option = shown[Math.min(at.value, shown.length - 1)];
      if (option) props.onPick(option.value);
    } else return;
    event.preventDefault();
    list.current?.querySelector(".active")?.scrollIntoView({ block: "nearest" });
  }
  return (
    <div onKeyDown={onKeyDown}>
      {props.search && (
        <input ref={field} class="search" placeholder={props.search} aria-label={props.search} value={text.value} onInput={(event) => { text.value = event.currentTarget.value; at.value = 0; }} />
      )}
      <div role="listbox" aria-label={props.label} tabIndex={0} ref={list}>
        {shown.map((option, index) => (
          <div key={option.value} role="option" aria-selected={option.value === props.selected} class={index === at.value ? "active" : ""} onClick={() => props.onPick(option.value)}>
            <span class="grow">{option.text}</span>
          </div>
        ))}
        {shown.length === 0 && <div class="hint" role="option" aria-selected={false}>No match</div>}
      </div>
    </div>
  );
}
