"use strict";
/* Runs code on a page of the explorer without a browser: node in_node.js PAGE, {code, given} on standard input. */

const fs = require("fs");
const vm = require("vm");

const text = fs.readFileSync(process.argv[2], "utf8");
const between = (start, end) => text.slice(text.indexOf(start) + start.length, text.indexOf(end, text.indexOf(start)));
const { code, given } = JSON.parse(fs.readFileSync(0, "utf8"));
for (const start of ["/*\n * From strokes", "/*\n * The networks", "/*\n * What the page holds"]) {
  const script = start + between(start, '\nif (typeof module !== "undefined")');
  vm.runInThisContext(script);
}
const about = JSON.parse(between('id="about">', "</script>"));
const run = vm.runInThisContext(`(async (page, given) => {${code}})`);
const answer = async () => {
  const arrays = arraysOf(await unpacked(between('id="arrays">', "</script>")), about.arrays);
  return run({ about, arrays, networks: networksOf(arrays, about.networks) }, given);
};
answer().then((found) => process.stdout.write(JSON.stringify(found)));
