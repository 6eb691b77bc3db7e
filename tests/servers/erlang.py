"""What the commands of rabbitmqctl do, as Erlang expressions to be evaluated inside a node."""

VHOSTS = """
lists:flatten(lists:join(" ", [binary_to_list(V) || V <- rabbit_vhost:list_names()]))
"""

QUEUES = """
lists:flatten(lists:join(" ", [binary_to_list(N)
    || [{{name, {{resource, _, queue, N}}}}] <- rabbit_amqqueue:info_all(<<"{vhost}">>, [name])]))
"""

QUEUE = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{name}">>)),
lists:flatten(io_lib:format("~0p ~0p", [amqqueue:get_type(Q), amqqueue:get_arguments(Q)]))
"""

SUSPEND_QUEUE = """
sys:suspend('{vhost}_{name}')
"""

MESSAGES = """
lists:sum([N || [{{messages, N}}] <- rabbit_amqqueue:info_all(<<"{vhost}">>, [messages]), is_integer(N)])
"""

DELETE_QUEUE = """
{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{name}">>)),
rabbit_amqqueue:delete(Q, false, false, <<"tests">>)
"""

DELETE_QUEUES = """
lists:foreach(fun(Q) -> rabbit_amqqueue:delete(Q, false, false, <<"tests">>) end, rabbit_amqqueue:list(<<"{vhost}">>))
"""

REPLACE_VHOSTS = """
lists:foreach(fun(V) -> rabbit_vhost:delete(V, <<"tests">>) end, [{used}]),
lists:foreach(fun(V) ->
    ok = rabbit_vhost:add(V, <<"tests">>),
    ok = rabbit_auth_backend_internal:set_permissions(<<"tests">>, V, <<".*">>, <<".*">>, <<".*">>, <<"tests">>)
end, [{fresh}])
"""

PERMIT = """
ok = rabbit_auth_backend_internal:set_permissions(
    <<"tests">>, <<"{vhost}">>, <<"{configure}">>, <<"{write}">>, <<"{read}">>, <<"tests">>)
"""

SHUT_OUT = """
ok = rabbit_auth_backend_internal:clear_permissions(<<"tests">>, <<"{vhost}">>, <<"tests">>)
"""

VERSION = "rabbit_misc:version()"
CONNECTIONS = "length(rabbit_networking:connections())"
CLOSE_CONNECTIONS = 'rabbit_networking:close_connections(rabbit_networking:connections(), "tests")'
CLEAR_ALARMS = (
    "vm_memory_monitor:set_vm_memory_high_watermark(0.4), rabbit_disk_monitor:set_disk_free_limit(1000000)"
)
FLUSH = "mnesia:sync_log(), lists:foreach(fun dets:sync/1, dets:all())"
