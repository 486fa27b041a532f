// Debian's Chromium, without a window.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";

export const WEB = process.env.AXONEME_UI_OUT ?? fileURLToPath(new URL("../../build/dev/share/axoneme/ui", import.meta.url));

// Only the last such switch counts: these are playwright's own; and Chromium's address bar, which is a page of its own for
// every page that is opened and costs more than ours.
const WITHOUT = [
  "AcceptCHFrame", "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "DialMediaRouteProvider", "GlobalMediaControls", "HttpsUpgrades", "LensOverlay",
  "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning", "Translate", "AutoDeElevate", "RenderDocument",
  "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "PreloadTopChromeWebUI",
];

export async function launch(): Promise<Browser> {
  const executablePath = process.env.AXONEME_CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
  if (!executablePath) throw new Error("no Chromium here: apt-get install chromium");
  if (!existsSync(`${WEB}/index.html`)) throw new Error(`${WEB}: the page is not built; run scripts/build-ui.sh`);
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage", "--js-flags=--max-old-space-size=512", `--disable-features=${WITHOUT.join(",")}`] });
}
