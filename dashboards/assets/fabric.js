/* What happens in the browser alone: the state in the URL, zoom, theme, links inside tables, the map. */
(function () {
    "use strict";
    const none = () => window.dash_clientside.no_update;

    /* A search string in which some parameters are replaced; empty ones vanish. */
    function merged(search, changes) {
        const query = new URLSearchParams(search || "");
        for (const [name, value] of Object.entries(changes)) {
            if (value === null || value === undefined || value === "") {
                query.delete(name);
            } else {
                query.set(name, String(value));
            }
        }
        const text = query.toString();
        return text ? "?" + text : "";
    }

    /* "12.5" of the axis as text of whole ns; BigInt, because ns since 1970 do not fit a double. */
    function nanoseconds(value, meta) {
        const unit = BigInt(meta.unit);
        let number = value;
        if (typeof value === "string") {
            number = Date.parse(value.replace(" ", "T") + "Z");
        }
        const whole = Math.floor(number);
        const part = Math.round((number - whole) * Number(unit));
        return String(BigInt(meta.origin) + BigInt(whole) * unit + BigInt(part));
    }

    /* Which control the user has just touched; nothing while a page is being built. */
    function touched() {
        const context = window.dash_clientside.callback_context;
        return context.triggered.length === 1 ? context.triggered[0] : null;
    }

    function address(path) {
        return typeof path === "string" && /^\/(?!\/)/.test(path) ? path : null;
    }

    const own = {
        /* Controls write their value into the URL. */
        params: function (values, search) {
            const hit = touched();
            if (!hit || hit.prop_id === ".") {
                return [none(), none()];
            }
            const name = JSON.parse(hit.prop_id.replace(/\.value$/, "")).param;
            const value = Array.isArray(hit.value) ? hit.value.join(",") : hit.value;
            const current = new URLSearchParams(search || "").get(name);
            if ((value === null ? "" : String(value)) === (current || "")) {
                return [none(), none()];
            }
            const next = merged(search, {[name]: value});
            return [next, next];
        },

        /* A drag along a time axis becomes the time range of the page. */
        zoom: function (events, figures, search) {
            const hit = touched();
            const moved = hit && hit.value;
            if (!moved || moved["xaxis.range[0]"] === undefined) {
                return [none(), none()];
            }
            const name = JSON.parse(hit.prop_id.replace(/\.relayoutData$/, "")).time;
            const context = window.dash_clientside.callback_context.states_list[0];
            const place = context.findIndex((state) => state.id.time === name);
            const meta = place >= 0 && figures[place] && figures[place].layout.meta;
            if (!meta) {
                return [none(), none()];
            }
            const next = merged(search, {
                from: nanoseconds(moved["xaxis.range[0]"], meta),
                to: nanoseconds(moved["xaxis.range[1]"], meta),
                last: null,
                live: null,
            });
            return [next, ""];
        },

        /* The time range typed in, or a preset; an empty text means open. */
        range: function (apply, whole, presets, from, to, search) {
            const hit = touched();
            if (!hit || !hit.value) {
                return [none(), none()];
            }
            if (hit.prop_id === "range-apply.n_clicks") {
                return [merged(search, {from: from, to: to, last: null, live: null}), ""];
            }
            if (hit.prop_id === "range-whole.n_clicks") {
                return [merged(search, {from: null, to: null, last: null, live: null}), ""];
            }
            const name = JSON.parse(hit.prop_id.replace(/\.n_clicks$/, "")).preset;
            return [merged(search, {from: null, to: null, last: name}), ""];
        },

        live: function (clicks, search) {
            if (!clicks) {
                return [none(), none()];
            }
            const on = new URLSearchParams(search || "").get("live") === "1";
            const next = merged(search, on ? {live: null} : {live: 1, from: null, to: null});
            return [next, ""];
        },

        ticking: function (search) {
            return new URLSearchParams(search || "").get("live") !== "1";
        },

        /* Light or dark: as the system has it until somebody chooses, then as chosen. */
        theme: function (clicks, chosen) {
            const system = window.matchMedia("(prefers-color-scheme: dark)").matches;
            let scheme = chosen || (system ? "dark" : "light");
            const hit = touched();
            const pressed = hit && hit.prop_id === "theme-toggle.n_clicks" && clicks;
            if (pressed) {
                scheme = scheme === "dark" ? "light" : "dark";
            }
            document.body.dataset.agThemeMode = scheme;
            document.documentElement.dataset.scheme = scheme;
            return [scheme, pressed ? scheme : none()];
        },

        /* A cell of the heatmap or a mark in a picture leads to a page; its address is in customdata. */
        follow: function () {
            const hit = touched();
            const point = hit && hit.value && hit.value.points && hit.value.points[0];
            const path = point && address(point.customdata);
            if (path) {
                window.dash_clientside.set_props("url", {href: path});
            }
            return none();
        },
    };

    /* Coming back from another page must not find the old picture's zoom. */
    window.dash_clientside = Object.assign({}, window.dash_clientside, {fabric: own});
    window.fabricTools = {merged: merged, nanoseconds: nanoseconds, address: address};

    const grids = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});

    /* A link inside a table that changes the page without loading everything anew. */
    grids.PageLink = function (props) {
        const text = props.value === null || props.value === undefined ? "" : String(props.value);
        const path = props.data && address(props.data[props.href]);
        if (!path) {
            return text;
        }
        const go = function (event) {
            if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) {
                return;
            }
            event.preventDefault();
            window.history.pushState({}, "", path);
            window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
        };
        return window.React.createElement("a", {href: path, onClick: go}, text);
    };

    grids.Severity = function (props) {
        const name = String(props.value || "");
        return window.React.createElement("span", {className: "severity " + name.replace(/[^a-z]/g, "")}, name);
    };
})();
