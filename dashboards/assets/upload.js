/* Uploads: the file goes by PUT as it is; progress is told line by line. */
(function () {
    "use strict";
    let running = 0;

    function line(list, name) {
        const item = document.createElement("li");
        const text = document.createElement("div");
        const bar = document.createElement("progress");
        text.textContent = name;
        bar.max = 1;
        bar.value = 0;
        bar.setAttribute("aria-label", "upload of " + name);
        item.append(text, bar);
        list.append(item);
        return {text: text, bar: bar, item: item};
    }

    function send(file, list, limit) {
        const row = line(list, file.name);
        const fail = (reason) => {
            row.text.textContent = file.name + ": " + reason;
            row.item.className = "failed";
            row.bar.remove();
        };
        if (limit && file.size > limit) {
            fail("larger than the " + Math.round(limit / 1e6).toLocaleString("en") + " MB allowed");
            return;
        }
        const request = new XMLHttpRequest();
        running += 1;
        request.upload.onprogress = (event) => {
            row.bar.value = event.total ? event.loaded / event.total : 0;
        };
        request.onload = () => {
            running -= 1;
            if (request.status === 201) {
                row.text.textContent = "kept as " + request.responseText;
                row.bar.remove();
            } else {
                fail(request.status === 413 ? "too large" : request.responseText.trim().slice(0, 300));
            }
            window.dash_clientside.set_props("captures-changed", {data: Date.now()});
        };
        request.onerror = () => {
            running -= 1;
            fail("the connection broke off, or the file is larger than the server takes");
        };
        request.open("PUT", "/upload/" + encodeURIComponent(file.name));
        request.setRequestHeader("Content-Type", "application/octet-stream");
        request.send(file);
    }

    function take(files) {
        const list = document.getElementById("upload-list");
        const box = document.getElementById("upload-box");
        if (!list || !box) {
            return;
        }
        const limit = Number(box.dataset.limit || 0);
        Array.from(files).forEach((file) => send(file, list, limit));
    }

    document.addEventListener("dragover", (event) => {
        const box = event.target.closest && event.target.closest("#upload-box");
        if (box) {
            event.preventDefault();
            box.classList.add("over");
        }
    });
    document.addEventListener("dragleave", (event) => {
        const box = event.target.closest && event.target.closest("#upload-box");
        if (box) {
            box.classList.remove("over");
        }
    });
    document.addEventListener("drop", (event) => {
        const box = event.target.closest && event.target.closest("#upload-box");
        if (box) {
            event.preventDefault();
            box.classList.remove("over");
            take(event.dataTransfer.files);
        }
    });
    window.addEventListener("beforeunload", (event) => {
        if (running) {
            event.preventDefault();
        }
    });

    const upload = {
        choose: function (clicks) {
            if (clicks) {
                const input = document.createElement("input");
                input.type = "file";
                input.multiple = true;
                input.onchange = () => take(input.files);
                input.click();
            }
            return window.dash_clientside.no_update;
        },
    };
    window.dash_clientside = Object.assign({}, window.dash_clientside, {upload: upload});
})();
