%% The workload on the BEAM: one scheduler, plain processes, the parameters of workload/*.rs.
%% main([Case, Amount]) prints one line, the JSON array of the case's metrics.
-module(beam).
-export([main/1]).

-define(BURST, 256).
-define(MANY, 100).
-define(BURST_EACH, 10).
-define(RING, 1000).
-define(SPAWN_BURST, 4096).

main([Case, Amount]) ->
    Many = list_to_integer(Amount),
    Name = list_to_atom(Case),
    %% A crowd does not warm up: ours does not either.
    Name =:= spawn orelse once(Name, max(Many div 10, 1)),
    io:format("~s~n", [["[", io_lib:format("~.4f", [once(Name, Many)]), "]"]]),
    halt(0).

once(tell, Many) -> stream(1, [Many], ?BURST);
once(fan_in, Many) ->
    Each = Many div ?MANY,
    stream(1, [Each || _ <- lists:seq(1, ?MANY)], ?BURST_EACH);
once(fan_out, Many) -> stream(?MANY, [Many div ?MANY * ?MANY], ?BURST);
once(ask, Many) -> ask(Many);
once(ping_pong, Many) -> ring(2, Many);
once(ring, Many) -> ring(?RING, Many);
once(spawn, Many) -> crowd(Many).

now_ns() -> erlang:monotonic_time(nanosecond).

%% One producer a number in Producers, Sinks receivers in turn; ns a message.
stream(Sinks, Producers, Burst) ->
    Me = self(),
    All = lists:sum(Producers),
    Pids = [spawn_link(fun() -> sink(Me, All div Sinks) end) || _ <- lists:seq(1, Sinks)],
    Start = now_ns(),
    [spawn_link(fun() -> produce(Pids, Pids, Each, Burst, Burst) end) || Each <- Producers],
    [receive {all, Pid} -> ok end || Pid <- Pids],
    (now_ns() - Start) / All.

produce(_, _, 0, _, _) -> ok;
produce(All, To, Left, Burst, 0) ->
    erlang:yield(),
    produce(All, To, Left, Burst, Burst);
produce(All, [], Left, Burst, Now) -> produce(All, All, Left, Burst, Now);
produce(All, [Pid | To], Left, Burst, Now) ->
    Pid ! {datum, Left, Burst, Now},
    produce(All, To, Left - 1, Burst, Now - 1).

sink(Whom, 0) -> Whom ! {all, self()};
sink(Whom, Left) ->
    receive {datum, _, _, _} -> sink(Whom, Left - 1) end.

%% Questions one by one, as gen_server asks them: a monitor each; the median in ns.
ask(Many) ->
    Oracle = spawn_link(fun oracle/0),
    Spans = [ask_once(Oracle, Number) || Number <- lists:seq(1, Many)],
    unlink(Oracle),
    exit(Oracle, kill),
    float(lists:nth((Many + 1) div 2, lists:sort(Spans))).

ask_once(Oracle, Number) ->
    Start = now_ns(),
    Ref = erlang:monitor(process, Oracle, [{alias, demonitor}]),
    Oracle ! {ask, Ref, Number},
    Wanted = Number + 1,
    receive {answer, Ref, Wanted} -> ok end,
    erlang:demonitor(Ref, [flush]),
    now_ns() - Start.

oracle() ->
    receive {ask, From, Number} -> From ! {answer, From, Number + 1} end,
    oracle().

%% A ball round Size processes; ns a hop.
ring(Size, Hops) ->
    Me = self(),
    Last = spawn_link(fun() -> receive {next, First} -> player(Me, First) end end),
    First = lists:foldl(
        fun(_, Next) -> spawn_link(fun() -> player(Me, Next) end) end,
        Last,
        lists:seq(2, Size)
    ),
    Last ! {next, First},
    Start = now_ns(),
    First ! {ball, Hops, 0},
    receive caught -> ok end,
    Ns = (now_ns() - Start) / (Hops + 1),
    First ! stop,
    Ns.

player(Whom, Next) ->
    receive
        {ball, 0, _} ->
            Whom ! caught,
            player(Whom, Next);
        {ball, Left, Payload} ->
            Next ! {ball, Left - 1, Payload},
            player(Whom, Next);
        stop ->
            Next ! stop
    end.

%% A crowd of idle processes; starts a second.
crowd(Many) ->
    Start = now_ns(),
    Last = crowd(1, Many, none),
    erlang:yield(),
    PerSecond = Many * 1.0e9 / (now_ns() - Start),
    Last ! {self(), number},
    receive {number, Many} -> PerSecond end.

crowd(Number, Many, Last) when Number > Many -> Last;
crowd(Number, Many, _) ->
    Number rem ?SPAWN_BURST =:= 0 andalso erlang:yield(),
    crowd(Number + 1, Many, spawn(fun() -> resting(Number) end)).

resting(Number) ->
    receive {From, number} -> From ! {number, Number} end.
