<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Client;
use Kahe\InvalidFrame;
use Kahe\InvalidOption;
use Kahe\NotSent;
use Kahe\Unavailable;

test('Client: sends each frame at once, in order, over one connection', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    $client->send('requests', 'one');
    $client->send('requests', 'two', '0');
    $client->send('7', '', 'key');
    same(3, $client->framesSent());
    $client->close();
    same([frame('requests', 'one') . frame('requests', 'two', '0') . frame('7', '', 'key')], $server->received());
});

test('Client: does not connect before the first send', function (): void {
    $server = new FakeServer();
    new Client($server->socket);
    same([], $server->received());
});

test('Client: sends a message larger than the socket buffer to a slow reader', function (): void {
    $server = new FakeServer(['read' => 'slow']);
    $message = random_bytes(3_000_000);
    $client = new Client($server->socket, deadlineMs: 20_000);
    $client->send('big', $message, 'k');
    $client->send('big', 'after');
    $client->close();
    same(md5(frame('big', $message, 'k') . frame('big', 'after')), md5($server->received()[0]));
});

test('Client: sendMany takes strings and messages with keys, from any iterable', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    same(3, $client->sendMany('b', ['x' => 'one', 'y' => ['message' => 'two', 'key' => '0'], 'z' => ['message' => 'three', 'key' => null]]));
    $expected = frame('b', 'one') . frame('b', 'two', '0') . frame('b', 'three');
    $generated = (function () use (&$expected) {
        for ($i = 0; $i < 20_000; $i++) {
            $expected .= frame('b', "message $i");
            yield "message $i";
        }
    })();
    same(20_000, $client->sendMany('b', $generated));
    same(0, $client->sendMany('b', []));
    $client->close();
    same(md5($expected), md5($server->received()[0]));
});

test('Client: the time that the iterable takes is not counted', function (): void {
    $server = new FakeServer(['read' => 'slow']);
    $client = new Client($server->socket, deadlineMs: 1000);
    $slow = (function () {
        yield str_repeat('x', 70_000);
        usleep(1_100_000);
        yield str_repeat('y', 600_000); // More than the socket holds, so it has to wait.
    })();
    same(2, $client->sendMany('b', $slow));
    $client->close();
    same(md5(frame('b', str_repeat('x', 70_000)) . frame('b', str_repeat('y', 600_000))), md5($server->received()[0]));
});

test('Client: sendMany sends what comes before an invalid message', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    throws(InvalidFrame::class, fn () => $client->sendMany('b', ['good', 5, 'never']));
    throws(InvalidFrame::class, fn () => $client->sendMany('b', [['msg' => 'no message']]));
    throws(InvalidFrame::class, fn () => $client->sendMany('b', [['message' => 'm', 'key' => 5]]));
    $client->close();
    same([frame('b', 'good')], $server->received());
});

test('Client: an invalid frame leaves the client in order', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, maxFrame: 100);
    throws(InvalidFrame::class, fn () => $client->send('', 'm'));
    throws(InvalidFrame::class, fn () => $client->send('b', str_repeat('m', 100)));
    $client->send('b', 'm');
    $client->close();
    same([frame('b', 'm')], $server->received());
});

test('Client: buffers up to bufferBytes, then writes', function (): void {
    $client = new Client(folder() . '/nobody.sock', bufferBytes: 20);
    $client->send('b', 'one');
    $client->send('b', 'two');
    $error = throws(Unavailable::class, fn () => $client->send('b', 'three'));
    same(frame('b', 'one') . frame('b', 'two') . frame('b', 'three'), $error->frames);
    $client->flush();
});

test('Client: flush writes the buffer', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, bufferBytes: 1000);
    $client->send('b', 'one');
    same(0, $client->framesSent());
    $client->flush();
    same(1, $client->framesSent());
    $client->close();
    same([frame('b', 'one')], $server->received());
});

test('Client: a forgotten buffer is flushed when the client goes', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, bufferBytes: 1000);
    $client->send('b', 'one');
    unset($client);
    same([frame('b', 'one')], $server->received());
});

foreach ([
    'the end of the request' => '',
    'exit' => 'exit(3);',
    'an uncaught error' => 'undefined_function();',
    // The one case in which PHP calls no destructor.
    'a fatal error' => 'ini_set("memory_limit", "8M"); str_repeat("x", 100_000_000);',
] as $what => $code) {
    test("Client: the buffer is flushed after $what", function () use ($code): void {
        $server = new FakeServer();
        inProcess('$client = new Kahe\Client("$folder/kahe.sock", bufferBytes: 1000); $client->send("b", "one");' . $code);
        same([frame('b', 'one')], $server->received());
    });
}

test('Client: what is sent after the flush at the end of the request is written at once', function (): void {
    $server = new FakeServer();
    inProcess('
        $client = new Kahe\Client("$folder/kahe.sock", bufferBytes: 1000);
        register_shutdown_function(function () use ($client) { $client->send("b", "late"); });
        ini_set("memory_limit", "8M");
        str_repeat("x", 100_000_000);
    ');
    same([frame('b', 'late')], $server->received());
});

test('Client: what the end of the request cannot send is in the error log', function (): void {
    inProcess('$client = new Kahe\Client("$folder/nobody.sock", bufferBytes: 1000); $client->send("b", "one");');
    isTrue(str_contains(errorLog(), '1 frame(s)') && str_contains(errorLog(), 'nobody.sock'), 'the log says so');
});

test('Client: the daemon is away: no socket, or nobody behind it', function (): void {
    $client = new Client(folder() . '/nobody.sock');
    $error = throws(Unavailable::class, fn () => $client->send('b', 'one'));
    same(frame('b', 'one'), $error->frames);
    isTrue(str_contains($error->getMessage(), folder() . '/nobody.sock'), 'the message names the socket');

    $server = new FakeServer();
    $server->kill();
    isTrue(file_exists($server->socket), 'the stale socket is there');
    throws(Unavailable::class, fn () => (new Client($server->socket))->send('b', 'one'));
});

test('Client: goes on by itself after the daemon restarted between sends', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    $client->send('b', 'one');
    usleep(100_000);
    $server->kill();
    throws(NotSent::class, fn () => $client->send('b', 'lost'));
    $server = new FakeServer();
    $client->send('b', 'two');
    $client->close();
    same([frame('b', 'two')], $server->received());
});

test('Client: notices only at the write that the daemon restarted, and sends the frame again', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket);
    $client->send('b', 'one');
    $server->kill();
    $server = new FakeServer();
    $client->send('b', 'two');
    $client->close();
    same([frame('b', 'two')], $server->received());
});

test('Client: a daemon that closes in mid-frame gets the frame whole over a new connection', function (): void {
    $message = str_repeat('m', 600_000);
    $first = new FakeServer(['closeAfter' => 400_000], 'a.sock');
    symlink($first->socket, folder() . '/link.sock');
    $client = new Client(folder() . '/link.sock', deadlineMs: 5000);
    $error = throws(Unavailable::class, fn () => $client->send('b', $message));
    same(md5(frame('b', $message)), md5($error->frames));
    foreach ($first->received() as $bytes) {
        same(substr(frame('b', $message), 0, 400_000), $bytes, 'each try began anew');
    }
    $second = new FakeServer([], 'b.sock');
    unlink(folder() . '/link.sock');
    symlink($second->socket, folder() . '/link.sock');
    $client->send('b', $message);
    $client->close();
    same(md5(frame('b', $message)), md5($second->received()[0]));
});

test('Client: a forked child neither repeats nor disturbs what its parent sends', function (): void {
    $server = new FakeServer();
    $run = inProcess('
        if (!function_exists("pcntl_fork")) { exit("no fork"); }
        $client = new Kahe\Client("$folder/kahe.sock", bufferBytes: 1000, persistent: true);
        $client->send("b", "sent"); $client->flush();
        $client->send("b", "buffered");
        if (pcntl_fork() === 0) { $client->send("b", "child"); exit; }
        pcntl_wait($status);
    ');
    if ($run['output'] !== 'no fork') {
        same([frame('b', 'sent') . frame('b', 'buffered'), frame('b', 'child')], $server->received());
    }
});

test('Client: refuses options that cannot work', function (): void {
    throws(InvalidOption::class, fn () => new Client('kahego.sock'));
    throws(InvalidOption::class, fn () => new Client('/' . str_repeat('x', 120)));
    throws(InvalidOption::class, fn () => new Client(fallbackDir: 'relative'));
    throws(InvalidOption::class, fn () => new Client(deadlineMs: 0));
    throws(InvalidOption::class, fn () => new Client(bufferBytes: -1));
});

test('README: its copy-and-paste function is the one that is tested', function (): void {
    $function = trim(substr(file_get_contents(__DIR__ . '/../examples/plain.php'), strlen("<?php\n")));
    isTrue(str_contains(file_get_contents(__DIR__ . '/../README.md'), $function), 'the README holds examples/plain.php');
});

test('README: its copy-and-paste function sends frames of any size over one connection', function (): void {
    $server = new FakeServer(['read' => 'slow']);
    $run = inProcess('
        require ' . var_export(dirname(__DIR__) . '/examples/plain.php', true) . ';
        var_dump(kahe_send("b", "one", "0", "$folder/kahe.sock"));
        var_dump(kahe_send("b", str_repeat("m", 500_000), "", "$folder/kahe.sock"));
        var_dump(kahe_send("b", "away", "", "$folder/nobody.sock"));
    ');
    same("bool(true)\nbool(true)\nbool(false)", $run['output']);
    same(md5(frame('b', 'one', '0') . frame('b', str_repeat('m', 500_000))), md5($server->received()[0]));
});

test('README: its copy-and-paste function gives up on a stuck daemon, and on the connection', function (): void {
    require_once __DIR__ . '/../examples/plain.php';
    $server = new FakeServer(['read' => 'stuck']);
    $message = str_repeat('m', 500_000);
    $ms = timed(fn () => same(false, \kahe_send('b', $message, '', $server->socket)));
    isTrue($ms >= 150 && $ms < 5000, "it waited a while ($ms ms)");
    $received = $server->received();
    same(1, count($received));
    isTrue(str_starts_with(frame('b', $message), $received[0]) && strlen($received[0]) < 500_000, 'half a frame, and nothing after it');
});
