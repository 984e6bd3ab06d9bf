"use strict";
exports.load = (...args) => import("./client.js").then(({ load }) => load(...args));
exports.PocketllamaError = require("./errors.cjs").PocketllamaError;
