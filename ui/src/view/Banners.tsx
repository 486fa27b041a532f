// What is wrong, in words: no relay, no node, events lost, not all shown.
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { agoText } from "../model/format";
import { blind, failure, link, lost, nodes } from "../state/engine";
import { Close, Unplugged, Warn } from "./icons";

const LOST_SHOWN_MS = 5 * 60_000;

export function Banners(): JSX.Element {
  const dismissed = useSignal(0);
  const down = nodes.value.filter((node) => node.state === "NODE_UNAVAILABLE" || node.state === "NODE_ERROR");
  const { count, last, at } = lost.value;
  return (
    <div class="banners" role="status" aria-live="polite">
      {link.value.state === "unreachable" && (
        <div class="banner dropped">
          <Unplugged />
          <span class="grow"><strong>The relay cannot be reached.</strong> {link.value.why}. What is shown is from before; trying again.</span>
          <span class="note">for {agoText(Date.now() - link.value.since)}</span>
        </div>
      )}
      {failure.value && link.value.state !== "unreachable" && (
        <div class="banner dropped">
          <Warn />
          <span class="grow"><strong>The relay refused.</strong> {failure.value}</span>
        </div>
      )}
      {link.value.state !== "unreachable" && blind.value && (
        <div class="banner audit">
          <Warn />
          <span class="grow"><strong>The relay is not told which nodes there are.</strong> Its peer service does not answer: is Hubble on in the agents (enable-hubble)?</span>
        </div>
      )}
      {link.value.state !== "unreachable" && down.length > 0 && (
        <div class="banner audit">
          <Warn />
          <span class="grow">
            <strong>{down.length === 1 ? `Node ${down[0]!.name} cannot be reached.` : `${down.length} of ${nodes.value.length} nodes cannot be reached.`}</strong>{" "}
            Its flows are missing here. {down.length === 1 ? down[0]!.message : down.map((node) => node.name).slice(0, 6).join(", ")}
          </span>
        </div>
      )}
      {count > dismissed.value && Date.now() - at < LOST_SHOWN_MS && (
        <div class="banner audit">
          <Warn />
          <span class="grow"><strong>{(count - dismissed.value).toLocaleString("en")} events were lost</strong> before they could be shown{last ? ` (${last})` : ""}. Counts and rates here are too low.</span>
          <button type="button" class="button small icon plain" aria-label="Dismiss" onClick={() => { dismissed.value = count; }}><Close /></button>
        </div>
      )}
    </div>
  );
}
