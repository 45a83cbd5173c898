// The search runs in a worker, and a browser makes none for a page that was opened from the file system. Then the
// worker's script runs in a hidden frame instead, and messages go to it and back as they would to a worker.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html>";
      frame.onload = () => this.start(frame.contentWindow, String(url));
      document.documentElement.append(frame);
    }

    start(inside, url) {
      // In a worker `postMessage` speaks to whoever made it, and `importScripts` waits; a frame has neither.
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        this.onmessage?.(event);
      };
      let loading = Promise.resolve();
      const load = (source) =>
        new Promise((resolve, reject) => {
          const script = inside.document.createElement("script");
          script.src = new URL(source, document.baseURI);
          script.onload = resolve;
          script.onerror = reject;
          inside.document.head.append(script);
        });
      inside.importScripts = (...sources) => {
        for (const source of sources) loading = loading.then(() => load(source));
        return loading;
      };
      load(url).then(() => {
        this.inside = inside;
        for (const data of this.waiting) this.postMessage(data);
      });
    }

    postMessage(data) {
      if (this.inside) this.inside.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }

    terminate() {}
  };
}
