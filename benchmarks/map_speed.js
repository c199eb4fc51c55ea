/* Pans the map for two seconds and recolours every edge; gives nodes, edges, frames per second, ms. */
async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const graph = () => document.getElementById("map")._cyreg;
    while (!graph() || !graph().cy.edges().length) {
        await frame();
    }
    const cy = graph().cy;
    const begin = performance.now();
    let frames = 0;
    while (performance.now() - begin < 2000) {
        cy.panBy({x: frames % 2 ? 8 : -8, y: 3});
        await frame();
        frames += 1;
    }
    const fps = frames / ((performance.now() - begin) / 1000);
    const start = performance.now();
    cy.batch(() => cy.edges().forEach((edge, n) => edge.data("v", n % 2 ? "#c3271b" : "#4a9bd1")));
    await frame();
    await frame();
    return [cy.nodes().length, cy.edges().length, fps, performance.now() - start];
}
