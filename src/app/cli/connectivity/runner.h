// Runs connectivity tests on a cluster and says how they went, in cilium-cli's form. Thread: main's.
#pragma once

#include <string>
#include <vector>

#include "app/cli/connectivity/cases.h"

namespace axo::cli::connectivity {

struct TestOptions {
    std::string name_space = "cilium-test-1";
    std::vector<std::string> filters;  // regular expressions of test names, "!…" excludes; empty: all
    std::string junit_file;            // "": none is written
    bool verbose = false;              // every action, not only those that fail
    bool keep = false;                 // pods and services stay
    int attempts = 3;                  // of an action, before it counts as failed
};

struct ActionResult {
    Action action;
    bool ok = false;
    std::string error;
};
struct TestResult {
    std::string name;
    std::string skipped;  // why it was not run
    std::string error;    // the test itself could not be run
    std::vector<std::string> scenarios_skipped;
    std::vector<ActionResult> actions;
    double seconds = 0;

    [[nodiscard]] bool ok() const;
    [[nodiscard]] std::size_t failed() const;
};

// Which tests the filters choose. An error names an expression that is none.
Result<std::vector<const Case*>> choose(const std::vector<std::string>& filters);
// Clients and servers, services, and what the cluster can do.
Result<World> deploy(TestCluster& cluster, const std::string& name_space);
// Progress goes to standard output; an error: tests have failed, or could not be run.
Status run_tests(TestCluster& cluster, const TestOptions& options);

// For CI: one test case per test, failures with their actions.
std::string junit(const std::string& suite, const std::vector<TestResult>& results);

}  // namespace axo::cli::connectivity
