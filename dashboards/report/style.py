"""How the HTML report looks: light and dark, colours that colour-blind readers can tell apart.

The five data colours are those of Okabe and Ito (2008), lightened where the page is dark.
"""

from typing import Final

CSS: Final = """
:root{--page:#fbfbfa;--card:#fff;--ink:#1b1f24;--soft:#5d6670;--rule:#dfe3e7;--grid:#e8ebee;
--c1:#0072b2;--c2:#d55e00;--c3:#009e73;--c4:#8a6d00;--c5:#a6528a;
--critical:#b42318;--warning:#9a6700;--healthy:#1a7f4b;--info:#44617b}
@media (prefers-color-scheme:dark){:root{--page:#14171a;--card:#1c2024;--ink:#e8eaed;--soft:#9aa4ae;
--rule:#343a41;--grid:#2a2f35;--c1:#56b4e9;--c2:#ff8a3d;--c3:#2fc79a;--c4:#e6b800;--c5:#d98fbf;
--critical:#ff7b70;--warning:#e3b341;--healthy:#4cc38a;--info:#8fb3d1}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1100px;margin:0 auto;padding:24px 20px}
header{border-left:6px solid var(--info);padding:2px 0 2px 18px;margin-bottom:20px}
header.critical{border-color:var(--critical)}header.warning{border-color:var(--warning)}
header.healthy{border-color:var(--healthy)}
.verdict{margin:0;text-transform:uppercase;letter-spacing:.08em;font-weight:700;font-size:13px;
color:var(--info)}
.critical .verdict{color:var(--critical)}.warning .verdict{color:var(--warning)}
.healthy .verdict{color:var(--healthy)}
h1{font-size:24px;line-height:1.3;margin:4px 0 8px;font-weight:650}
header p:last-child{margin:0;color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:8px 28px;list-style:none;margin:0 0 8px;padding:0;
color:var(--soft)}
.tiles b{color:var(--ink);font-size:17px;font-variant-numeric:tabular-nums}
section{margin-top:32px}
h2{font-size:18px;margin:0 0 12px;padding-bottom:6px;border-bottom:1px solid var(--rule)}
h3{font-size:15px;margin:0 0 4px}
article,figure{background:var(--card);border:1px solid var(--rule);border-radius:8px;
padding:14px 18px;margin:0 0 14px}
article h3 span{text-transform:uppercase;font-size:11px;letter-spacing:.06em;border:1px solid;
border-radius:4px;padding:1px 6px;margin-right:6px;vertical-align:1px}
article.critical h3 span{color:var(--critical)}article.warning h3 span{color:var(--warning)}
article p{margin:2px 0 8px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin:0;font-size:14px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
figcaption{color:var(--soft);font-size:13px;margin:4px 0}
svg{display:block;width:100%;height:auto;margin:6px 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th{text-align:left;color:var(--soft);font-weight:600;white-space:nowrap}
th,td{padding:4px 10px 4px 0;border-bottom:1px solid var(--grid);vertical-align:top}
details{margin-top:6px}summary{cursor:pointer;color:var(--soft);font-size:13px}
footer{max-width:1100px;margin:0 auto;padding:8px 20px 32px;color:var(--soft);font-size:13px}
svg text{font-family:inherit;fill:var(--soft)}
.tick{font-size:12px;font-variant-numeric:tabular-nums}.axis{font-size:12.5px;font-weight:600}
.note{font-size:12px}
.grid{stroke:var(--grid);fill:none}.limit{stroke:var(--ink);stroke-dasharray:5 4;fill:none}
.line{fill:none;stroke-width:1.5;stroke-linejoin:round}
.area{stroke:none}.area.c1{fill:var(--c1);fill-opacity:.75}.area.c2{fill:var(--c2);fill-opacity:.3}
.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}
.fill.c1{fill:var(--c1)}.fill.c2{fill:var(--c2)}
.cross,.dot,.flag{fill:none;stroke-width:2}
.cross.c2,.flag.c2,.lead.c2{stroke:var(--c2)}.cross.c4,.lead.c4{stroke:var(--c4)}
.cross.c5,.dot.c5,.lead.c5{stroke:var(--c5)}.dot.c3,.lead.c3{stroke:var(--c3)}
.lead{fill:none;stroke-dasharray:3 3;opacity:.7}
.whisker{stroke:var(--soft);fill:none}.box{stroke:var(--c1);stroke-width:7;fill:none;opacity:.45}
.void{fill:var(--grid)}
@media print{body{background:#fff}article,figure{break-inside:avoid}}
""".replace("\n", "")
