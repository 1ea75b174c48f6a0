<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Client;
use Kahe\DeadlineExceeded;
use Kahe\Frame;

// Times are asserted loosely: the machine may be busy.
const LONG_MS = 5000;

test('Deadline: a daemon that never reads does not hold the request', function (): void {
    $server = new FakeServer(['read' => 'stuck']);
    $client = new Client($server->socket, deadlineMs: 100);
    $message = str_repeat('m', 2_000_000);
    $ms = timed(function () use ($client, $message): void {
        $error = throws(DeadlineExceeded::class, fn () => $client->send('b', $message));
        same(md5(frame('b', $message)), md5($error->frames));
    });
    isTrue($ms >= 90 && $ms < LONG_MS, "the deadline is kept ($ms ms)");
});

test('Deadline: a daemon that never accepts does not hold the request', function (): void {
    $server = new FakeServer(['accepts' => false]);
    $waiting = fillBacklog($server->socket);
    $client = new Client($server->socket, deadlineMs: 100);
    $ms = timed(fn () => throws(DeadlineExceeded::class, fn () => $client->send('b', 'm')));
    isTrue($ms >= 90 && $ms < LONG_MS, "the deadline is kept ($ms ms)");
});

test('Deadline: holds for the whole call, however often a slow daemon takes a little', function (): void {
    $server = new FakeServer(['read' => 'slow']);
    $client = new Client($server->socket, deadlineMs: 100);
    $ms = timed(fn () => throws(DeadlineExceeded::class, fn () => $client->sendMany('b', array_fill(0, 600, str_repeat('m', 50_000)))));
    isTrue($ms < LONG_MS / 2, "the deadline is kept ($ms ms)");
});

test('Deadline: many sends in one request wait once, until retryAfterMs', function (): void {
    $server = new FakeServer(['read' => 'stuck']);
    $client = new Client($server->socket, deadlineMs: 150, retryAfterMs: 60_000);
    throws(DeadlineExceeded::class, fn () => $client->send('b', str_repeat('m', 2_000_000)));
    $ms = timed(function () use ($client): void {
        for ($i = 0; $i < 100; $i++) {
            throws(DeadlineExceeded::class, fn () => $client->send('b', 'm'));
        }
    });
    isTrue($ms < 100 * 150 / 2, "they did not wait ($ms ms)");

    $client = new Client($server->socket, deadlineMs: 50, retryAfterMs: 0);
    throws(DeadlineExceeded::class, fn () => $client->send('b', str_repeat('m', 2_000_000)));
    $client->send('b', 'tried again at once');
    same(1, $client->framesSent());
});

test('Deadline: what was written whole counts as sent, the rest is handed back, and nothing follows half a frame', function (): void {
    $server = new FakeServer(['read' => 'stuck']);
    $client = new Client($server->socket, deadlineMs: 50, bufferBytes: 1_000_000, retryAfterMs: 0);
    $all = '';
    for ($i = 0; $i < 500; $i++) {
        $all .= frame('b', $messages[] = "$i " . str_repeat('m', 10_000));
    }
    $error = throws(DeadlineExceeded::class, fn () => $client->sendMany('b', $messages));
    $sent = $client->framesSent();
    isTrue($sent > 0 && $sent < 500, "some were sent ($sent)");
    $client->send('b', 'after');
    $client->close();
    [$first, $second] = $server->received();
    $whole = Frame::wholeBytes($all, strlen($first));
    same(substr($all, 0, strlen($first)), $first);
    isTrue($whole < strlen($first), 'a frame was cut');
    same($sent, Frame::count(substr($all, 0, $whole)), 'frames sent');
    same(md5(substr($all, $whole, strlen($error->frames))), md5($error->frames), 'the rest begins with the cut frame');
    same(frame('b', 'after'), $second);
});

// A real listener with room for one connection, which is full. It is drained in the pause after the first refusal, and the clock
// moves only in these pauses.
const FULL_BACKLOG = '
    $GLOBALS["listener"] = stream_socket_server("unix://$folder/full.sock", context: stream_context_create(["socket" => ["backlog" => 1]]));
    $waiting = Kahe\Tests\fillBacklog("$folder/full.sock");
    $GLOBALS["us"] = $GLOBALS["pauses"] = 0;
    function pause(int $us) {
        $GLOBALS["us"] += $us;
        while ($GLOBALS["pauses"] === $GLOBALS["drainedAt"] && count($GLOBALS["accepted"] ?? []) < count($GLOBALS["waiting"])) {
            $GLOBALS["accepted"][] = stream_socket_accept($GLOBALS["listener"]);
        }
        $GLOBALS["pauses"]++;
    }
    function clocked(string $namespace, string $more = "") {
        eval("namespace $namespace; function usleep(int \$us) { \\pause(\$us); } function hrtime(bool \$ns) { return \$GLOBALS[\"us\"] * 1000; } $more");
    }
';

test('Deadline: connects again while the queue of new connections is full', function (): void {
    $run = inProcess(FULL_BACKLOG . '
        $drainedAt = 0;
        clocked("Kahe");
        $client = new Kahe\Client("$folder/full.sock");
        $client->send("b", "m");
        $client->close();
        echo $pauses, " ", bin2hex(stream_get_contents(stream_socket_accept($listener)));
    ');
    same('1 ' . bin2hex(frame('b', 'm')), $run['output']);
});

foreach (['drained at once' => [0, 1, 'true'], 'drained after 180 ms' => [90, 91, 'true'], 'never drained' => [-1, 100, 'false']] as $when => [$drainedAt, $pauses, $sent]) {
    test("README: its copy-and-paste function connects again while the queue of new connections is full: $when", function () use ($drainedAt, $pauses, $sent): void {
        $plain = var_export(substr(file_get_contents(__DIR__ . '/../examples/plain.php'), strlen('<?php')), true);
        $run = inProcess(FULL_BACKLOG . "
            \$drainedAt = $drainedAt;
            clocked('Copied', $plain);
            \$wasSent = Copied\\kahe_send('b', 'm', '', \"\$folder/full.sock\");
            echo json_encode(\$wasSent), ' ', \$pauses;
        ");
        same("$sent $pauses", $run['output']);
    });
}

test('README: its copy-and-paste function tries before it gives up, also when PHP was stopped for long', function (): void {
    $server = new FakeServer();
    $plain = var_export(substr(file_get_contents(__DIR__ . '/../examples/plain.php'), strlen('<?php')), true);
    $run = inProcess('
        eval("namespace Slow; function hrtime() { static \$now = 0; return \$now += 1_000_000_000; }" . ' . $plain . ');
        echo json_encode(Slow\kahe_send("b", "m", "", "$folder/kahe.sock"));
    ');
    same('true', $run['output']);
    same([frame('b', 'm')], $server->received());
});
