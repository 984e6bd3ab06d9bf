#!/usr/bin/env node
import("../js/cli.js").then(({ main }) => main(process.argv.slice(2)));
