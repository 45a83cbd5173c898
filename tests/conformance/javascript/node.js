import { smoke } from "./smoke.js";

console.log(JSON.stringify(await smoke(process.argv[2], JSON.parse(process.argv[3]))));
