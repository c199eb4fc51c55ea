"""Child process of ``fabric packets --frame``: prints the frame of a file through pyshark.

The file holds that frame alone; ``number`` is the one it had. Exits with 1 where nothing was read.
"""

import asyncio
import sys

from dashboards.report.words import clean


def main(file: str, number: str) -> int:
    """Print every field of the frame, layer by layer."""
    import pyshark

    # pyshark asks for the current event loop, which since Python 3.12 nobody makes by itself.
    asyncio.set_event_loop(asyncio.new_event_loop())
    capture = pyshark.FileCapture(file, keep_packets=False, custom_parameters=["-n"])
    for packet in capture:
        sys.stdout.write(f"frame {int(number)}, {packet.sniff_time}, {packet.length} bytes\n")
        for layer in packet.layers:
            sys.stdout.write(f"\n{layer.layer_name.upper()}\n")
            for name in layer.field_names:
                field = layer.get_field(name)
                said = clean(field.showname or f"{name}: {field}")
                sys.stdout.write(f"  {said}\n")
        capture.close()
        return 0
    capture.close()
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
