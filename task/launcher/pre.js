'use strict';
// The agent names no phase to the script it starts, so each phase has a script of its own.
require('./launcher.js').launch('pre');
