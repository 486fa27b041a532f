import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  esbuild: { jsx: "automatic", jsxImportSource: "preact" },
  // Relative addresses: the page works behind a proxy that serves it under a path.
  base: "./",
  build: {
    outDir: process.env.AXONEME_UI_OUT ?? here("../build/ui"),
    emptyOutDir: true,
    target: "es2022",
    // One small page: its code is one file, so that the first picture costs two requests.
    chunkSizeWarningLimit: 300,
    modulePreload: false,
  },
  // tests/ui lies outside this folder.
  server: { fs: { allow: [here(process.env.VITEST ? ".." : ".")] }, proxy: { "/api": process.env.AXONEME_RELAY ?? "http://127.0.0.1:8081" } },
  resolve: {
    // tests/ui has no packages of its own.
    alias: {
      "playwright-core": here("node_modules/playwright-core/index.mjs"),
      "axe-core": here("node_modules/axe-core/axe.js"),
    },
  },
  test: {
    pool: "forks",
    projects: [
      { extends: true, test: { name: "unit", include: ["src/**/*.test.ts"], environment: "node" } },
      {
        extends: true,
        test: {
          name: "e2e",
          root: here(".."),
          include: ["tests/ui/**/*.test.ts"],
          environment: "node",
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // One browser at a time, with a few pages: the machine that runs this has few cores and other work.
          poolOptions: { forks: { singleFork: true } },
          maxConcurrency: 3,
        },
      },
    ],
  },
});
