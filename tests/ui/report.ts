// What tests/ui/run.py reads: AXONEME_UI_REPORT=FILE gets what passed, and everything that failed: tests, what runs before them, and what belongs to none.
import { writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { SerializedError } from "vitest";
import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";

interface Failure {
  file: string;
  /** Of a test or of a group of tests. */
  name: string;
  why: string;
}

const text = (errors: readonly SerializedError[]) => errors.map((error) => error.stack ?? error.message).join("\n");

export default class RunReporter implements Reporter {
  private passed = 0;
  private failures: Failure[] = [];

  onTestCaseResult(test: TestCase): void {
    const result = test.result();
    if (result.state === "passed") this.passed++;
    else if (result.state === "failed") this.add(test.module, test.fullName, result.errors);
  }

  onTestSuiteResult(suite: TestSuite): void {
    if (suite.errors().length) this.add(suite.module, suite.fullName, suite.errors());
  }

  onTestModuleEnd(module: TestModule): void {
    if (module.errors().length) this.add(module, "", module.errors());
  }

  onTestRunEnd(_: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    if (unhandled.length) this.failures.push({ file: "", name: "", why: text(unhandled) });
    writeFileSync(process.env.AXONEME_UI_REPORT!, JSON.stringify({ passed: this.passed, failures: this.failures }));
  }

  private add(module: TestModule, name: string, errors: readonly SerializedError[]): void {
    this.failures.push({ file: basename(module.moduleId), name: name.replaceAll(" > ", " "), why: text(errors) });
  }
}
