"""Messages of the dial-out protocols and of OpenTelemetry's metrics: field numbers are the protocol.

Sources: SONiC: sonic-gnmi, proto/dial_out.proto. H3C: the two-layer grpc_dialout.proto; the numbers of
``deviceIpAddr`` and ``eventType``, which newer firmware adds, and all of ``grpc_dialout_v3`` were never
seen written down: unverified. That of ``chunkMsg`` is not known either, so it is looked for among the
next free ones, as what has the shape of a ChunkInfo. Huawei and Cisco: mdt-dialout-collector,
proto/. OpenTelemetry: opentelemetry-proto 1.x, metrics/v1 and common/v1. Text that a device may cut in
the middle of a character is declared as bytes.
"""

from types import SimpleNamespace
from typing import Any, Final

from collectors.descriptors import build

# SONiC's answer to Publish; Nokia's has no fields, so an empty one serves it.
PublishResponse: Any = build("gnmi_sonic", {"PublishResponse": "1 timestamp int64"})[
    "PublishResponse"
]

H3C: Any = SimpleNamespace(
    **build(
        "grpc_dialout",
        {
            "DeviceInfo": """
                1 producerName bytes
                2 deviceName bytes
                3 deviceModel bytes
                4 deviceIpAddr bytes
                5 eventType bytes
            """,
            "ChunkInfo": """
                1 totalSize uint64
                2 totalFragments uint64
                3 nodeId uint64
            """,
            "DialoutMsg": """
                1 deviceMsg DeviceInfo
                2 sensorPath bytes
                3 jsonData bytes
                4 extra4 bytes
                5 extra5 bytes
                6 extra6 bytes
                7 extra7 bytes
                8 extra8 bytes
            """,
            "DialoutResponse": "1 response string",
        },
    )
)

# Cisco's MdtDialoutArgs, Huawei's serviceArgs and H3C's third layer agree in these numbers.
Args: Any = build(
    "dialout_args",
    {
        "Args": """
            1 ReqId int64
            2 data bytes
            3 errors bytes
            4 data_json bytes
        """
    },
)["Args"]
# The same where 4 is the size of what comes in several messages.
Chunk: Any = build(
    "dialout_chunk",
    {
        "Chunk": """
            1 ReqId int64
            2 data bytes
            3 errors bytes
            4 totalSize int32
        """
    },
)["Chunk"]

Huawei: Any = SimpleNamespace(
    **build(
        "huawei_telemetry",
        {
            "Telemetry": """
                1 node_id_str bytes
                2 subscription_id_str bytes
                3 sensor_path bytes
                4 collection_id uint64
                5 collection_start_time uint64
                6 msg_timestamp uint64
                7 data_gpb TelemetryGPBTable
                8 collection_end_time uint64
                9 current_period uint32
                10 except_desc bytes
                11 product_name bytes
                12 encoding int32
                13 proto_path bytes
                14 data_str bytes
                15 ne_id bytes
                16 software_version bytes
            """,
            "TelemetryGPBTable": """
                1 row TelemetryRowGPB*
                2 delete DataPath*
                3 generator Generator
            """,
            "TelemetryRowGPB": """
                1 timestamp uint64
                2 path DataPath
                11 content bytes
            """,
            "DataPath": "1 path bytes",
            "Generator": "1 generator_id bytes",
        },
    )
)

Cisco: Any = SimpleNamespace(
    **build(
        "cisco_telemetry",
        {
            "Telemetry": """
                1 node_id_str bytes in node_id
                3 subscription_id_str bytes in subscription
                6 encoding_path bytes
                7 model_version bytes
                8 collection_id uint64
                9 collection_start_time uint64
                10 msg_timestamp uint64
                11 data_gpbkv TelemetryField*
                12 data_gpb TelemetryGPBTable
                13 collection_end_time uint64
            """,
            "TelemetryField": """
                1 timestamp uint64
                2 name bytes
                4 bytes_value bytes in value_by_type
                5 string_value bytes in value_by_type
                6 bool_value bool in value_by_type
                7 uint32_value uint32 in value_by_type
                8 uint64_value uint64 in value_by_type
                9 sint32_value sint32 in value_by_type
                10 sint64_value sint64 in value_by_type
                11 double_value double in value_by_type
                12 float_value float in value_by_type
                15 fields TelemetryField*
                16 delete bool
            """,
            "TelemetryGPBTable": "1 row TelemetryRowGPB*",
            "TelemetryRowGPB": """
                1 timestamp uint64
                10 keys bytes
                11 content bytes
            """,
        },
    )
)

OTLP_SERVICE: Final = "opentelemetry.proto.collector.metrics.v1.MetricsService"
Otlp: Any = SimpleNamespace(
    **build(
        "otlp",
        {
            "ExportMetricsServiceRequest": "1 resource_metrics ResourceMetrics*",
            "ExportMetricsServiceResponse": "1 partial_success PartialSuccess",
            "PartialSuccess": """
                1 rejected_data_points int64
                2 error_message string
            """,
            "ResourceMetrics": """
                1 resource Resource
                2 scope_metrics ScopeMetrics*
                3 schema_url bytes
            """,
            "Resource": "1 attributes KeyValue*",
            "ScopeMetrics": """
                1 scope Scope
                2 metrics Metric*
                3 schema_url bytes
            """,
            "Scope": """
                1 name bytes
                2 version bytes
            """,
            "Metric": """
                1 name bytes
                2 description bytes
                3 unit bytes
                5 gauge Gauge in data
                7 sum Sum in data
                9 histogram Histogram in data
            """,
            "Gauge": "1 data_points NumberDataPoint*",
            "Sum": """
                1 data_points NumberDataPoint*
                2 aggregation_temporality int32
                3 is_monotonic bool
            """,
            "Histogram": """
                1 data_points HistogramDataPoint*
                2 aggregation_temporality int32
            """,
            "NumberDataPoint": """
                2 start_time_unix_nano fixed64
                3 time_unix_nano fixed64
                4 as_double double in value
                6 as_int sfixed64 in value
                7 attributes KeyValue*
                8 flags uint32
            """,
            "HistogramDataPoint": """
                2 start_time_unix_nano fixed64
                3 time_unix_nano fixed64
                4 count fixed64
                5 sum double
                6 bucket_counts fixed64*
                7 explicit_bounds double*
                9 attributes KeyValue*
            """,
            "KeyValue": """
                1 key bytes
                2 value AnyValue
            """,
            "AnyValue": """
                1 string_value bytes in value
                2 bool_value bool in value
                3 int_value int64 in value
                4 double_value double in value
                5 array_value ArrayValue in value
                7 bytes_value bytes in value
            """,
            "ArrayValue": "1 values AnyValue*",
        },
    )
)
