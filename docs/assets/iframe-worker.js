// Lets search run over file://, where a browser starts no worker: loaded by the offline build only.
//
// A hidden frame takes the worker's place. What is in it comes from files, as the page's policy lets
// no script run that stands within a page.
(() => {
  "use strict";
  if (location.protocol !== "file:") return;
  const frameScript = new URL("iframe-worker-frame.js", document.currentScript.src).href;

  class FileWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.ready = new Promise((resolve) => {
        const { contentDocument, contentWindow } = this.frame;
        const load = (src) =>
          new Promise((loaded) => {
            const script = contentDocument.createElement("script");
            script.src = src;
            script.onload = loaded;
            contentDocument.body.append(script);
          });
        contentWindow.tellPage = (data) => {
          const event = new MessageEvent("message", { data: structuredClone(data) });
          this.dispatchEvent(event);
          this.onmessage?.(event);
        };
        load(frameScript)
          .then(() => load(new URL(url, location.href).href))
          .then(resolve);
      });
    }

    postMessage(data) {
      this.ready.then(() => {
        const event = new MessageEvent("message", { data: structuredClone(data) });
        this.frame.contentWindow.dispatchEvent(event);
      });
    }

    terminate() {
      this.frame.remove();
    }
  }
  window.Worker = FileWorker;
})();
