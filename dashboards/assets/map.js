/* The map over time: links are recoloured in place, so that nothing is sent or laid out anew. */
(function () {
    "use strict";
    /* The same scale as dashboards/figures/palette.py. */
    const STOPS = [
        [0.0, [139, 150, 160]], [0.0001, [130, 178, 212]], [0.25, [74, 155, 209]], [0.55, [240, 195, 60]],
        [0.8, [232, 118, 45]], [1.0, [195, 39, 27]],
    ];
    const UNREAD = "#c5ccd3";

    function colour(share) {
        const value = Math.min(Math.max(share, 0), 1);
        for (let n = 1; n < STOPS.length; n += 1) {
            const [low, a] = STOPS[n - 1];
            const [high, b] = STOPS[n];
            if (value <= high) {
                const part = (value - low) / (high - low);
                return "rgb(" + a.map((x, i) => Math.round(x + (b[i] - x) * part)).join(",") + ")";
            }
        }
        return "rgb(195,39,27)";
    }

    function graph(id) {
        const box = document.getElementById(id);
        return box && box._cyreg ? box._cyreg.cy : null;
    }

    /* The picture may still be on its way into the page: try again for a second. */
    function whenDrawn(id, act, left) {
        const cy = graph(id);
        if (cy && cy.edges().length) {
            act(cy);
        } else if (left > 0) {
            window.setTimeout(() => whenDrawn(id, act, left - 1), 100);
        }
    }

    const map = {
        paint: function (moment, values) {
            if (!values || !values.times.length) {
                return "no reading";
            }
            const at = Math.min(moment || 0, values.times.length - 1);
            whenDrawn("map", (cy) => cy.batch(() => {
                values.edges.forEach((id, row) => {
                    const value = values.table[row][at];
                    const edge = cy.getElementById(id);
                    edge.toggleClass("unread", value === null);
                    edge.data("v", value === null ? UNREAD : colour(value));
                });
            }), 20);
            return values.times[at];
        },
        beat: function (_, moment, last) {
            window.dash_clientside.set_props("map-time", {value: (moment || 0) >= last ? 0 : moment + 1});
            return window.dash_clientside.no_update;
        },
        play: function (clicks, stopped) {
            return [!stopped, stopped ? "Pause" : "Play"];
        },
    };
    window.dash_clientside = Object.assign({}, window.dash_clientside, {map: map});
})();
