// What a worker's script finds in its frame: see iframe-worker.js.
"use strict";
window.postMessage = (data) => window.tellPage(data);
window.importScripts = (...urls) =>
  urls.reduce(
    (before, url) =>
      before.then(
        () =>
          new Promise((loaded) => {
            const script = document.createElement("script");
            script.src = url;
            script.onload = loaded;
            document.body.append(script);
          }),
      ),
    Promise.resolve(),
  );
