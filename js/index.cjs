"use strict";
exports.load = (...args) => import("./client.js").then(({ load }) => load(...args));
exports.Session = require("./session.cjs").Session;
exports.PocketllamaError = require("./errors.cjs").PocketllamaError;
