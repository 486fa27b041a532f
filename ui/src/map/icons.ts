// Small signs for kinds of workload, in a square of 16.
const PATHS: Record<string, string> = {
  Deployment: "M3 5.5 8 3l5 2.5L8 8Z M3 8.5 8 11l5-2.5 M3 11.2 8 13.7l5-2.5",
  StatefulSet: "M3 4.5C3 3.4 5.2 2.8 8 2.8s5 .6 5 1.7-2.2 1.7-5 1.7-5-.6-5-1.7Z M3 4.5v7c0 1.1 2.2 1.7 5 1.7s5-.6 5-1.7v-7 M3 8c0 1.1 2.2 1.7 5 1.7S13 9.1 13 8",
  DaemonSet: "M3 3h4v4H3Z M9 3h4v4H9Z M3 9h4v4H3Z M9 9h4v4H9Z",
  Job: "M8 2.8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 8 2.8Z M8 5v3.2l2.2 1.3",
  CronJob: "M8 2.8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 8 2.8Z M8 5v3.2l2.2 1.3",
  world: "M8 2.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6Z M2.8 8h10.4 M8 2.6c-3 3-3 7.800 0 10.8 M8 2.6c3 3 3 7.800 0 10.8",
  dns: "M6.700 9.300a2.600 2.600 0 0 1 0-3.600l1.800-1.800a2.600 2.600 0 0 1 3.600 3.600l-.9.9 M9.300 6.700a2.600 2.600 0 0 1 0 3.600l-1.800 1.800a2.600 2.600 0 0 1-3.600-3.600l.9-.9",
  host: "M3 3.500h10v4H3Z M3 8.500h10v4H3Z M5 5.500h.1 M5 10.500h.1",
  reserved: "M8 2.800 13 5v3.500c0 2.600-2.200 4.200-5 5-2.800-.8-5-2.400-5-5V5Z",
  namespace: "M3 3.500h4l1.300 1.500H13v7.500H3Z",
  pod: "M8 2.700 12.700 5.300v5.400L8 13.300 3.300 10.700V5.300Z",
};

const made = new Map<string, Path2D>();

export function icon(kind: string, subtitle: string): Path2D {
  const name = kind === "pod" ? (subtitle in PATHS ? subtitle : "pod") : kind in PATHS ? kind : "reserved";
  let path = made.get(name);
  if (!path) {
    path = new Path2D(PATHS[name]);
    made.set(name, path);
  }
  return path;
}
