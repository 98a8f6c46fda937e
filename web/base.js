// Where this site lies: the folder of inglenook.js, and of the bundles the build makes (which is why this stands here).

export const BASE = new URL('.', import.meta.url);
