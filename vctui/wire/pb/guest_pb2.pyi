from vctui.wire.pb import oci_pb2 as _oci_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListProcessesRequest(_message.Message):
    __slots__ = ("container_id", "format", "args")
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    container_id: str
    format: str
    args: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, container_id: _Optional[str] = ..., format: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ...) -> None: ...

class ListProcessesResponse(_message.Message):
    __slots__ = ("process_list",)
    PROCESS_LIST_FIELD_NUMBER: _ClassVar[int]
    process_list: bytes
    def __init__(self, process_list: _Optional[bytes] = ...) -> None: ...

class SignalContainerRequest(_message.Message):
    __slots__ = ("container_id", "signal")
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    container_id: str
    signal: int
    def __init__(self, container_id: _Optional[str] = ..., signal: _Optional[int] = ...) -> None: ...

class GetTimelineRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TimelineStep(_message.Message):
    __slots__ = ("name", "begin_ns", "end_ns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BEGIN_NS_FIELD_NUMBER: _ClassVar[int]
    END_NS_FIELD_NUMBER: _ClassVar[int]
    name: str
    begin_ns: int
    end_ns: int
    def __init__(self, name: _Optional[str] = ..., begin_ns: _Optional[int] = ..., end_ns: _Optional[int] = ...) -> None: ...

class GetTimelineResponse(_message.Message):
    __slots__ = ("now_ns", "steps")
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    now_ns: int
    steps: _containers.RepeatedCompositeFieldContainer[TimelineStep]
    def __init__(self, now_ns: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[TimelineStep, _Mapping]]] = ...) -> None: ...

class PrepareRequest(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[_oci_pb2.LinuxDeviceCgroup]
    def __init__(self, devices: _Optional[_Iterable[_Union[_oci_pb2.LinuxDeviceCgroup, _Mapping]]] = ...) -> None: ...
