import { render } from "preact";
import "./style/font.css";
import "./style/theme.css";
import "./style/page.css";
import "./style/panel.css";
import "./style/table.css";
import { start } from "./state/engine";
import { startExtras } from "./state/extra";
import { App } from "./view/App";

start();
startExtras();
render(<App />, document.getElementById("app")!);
