<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Client;
use Kahe\Connection;
use Kahe\Deadline;
use Kahe\DeadlineExceeded;
use Kahe\Discarded;

// One client after another in this process stands for one request after another in a worker.

/** What a request leaves behind that dies in the middle of a write: PHP keeps the stream, and nothing else. */
function dieInMidFrame(FakeServer $server): void
{
    $stream = stream_socket_client("unix://$server->socket", $code, $reason, 1, STREAM_CLIENT_CONNECT | STREAM_CLIENT_PERSISTENT);
    stream_set_blocking($stream, false);
    fwrite($stream, substr(frame('b', 'half of it'), 0, 9));
}

/** Ends the persistent connections to this socket, so that the server sees their end. */
function endPersistent(FakeServer $server): void
{
    $connection = new Connection($server->socket, isPersistent: true);
    $connection->open(new Deadline(1000));
    $connection->close();
}

test('Persistent: requests of one worker share one connection', function (): void {
    $server = new FakeServer();
    foreach (['one', 'two', 'three'] as $message) {
        $client = new Client($server->socket, persistent: true);
        $client->send('b', $message);
        $message === 'two' ? $client->close() : null;
        unset($client);
    }
    endPersistent($server);
    same([frame('b', 'one') . frame('b', 'two') . frame('b', 'three')], $server->received());
});

test('Persistent: without it each client has its own', function (): void {
    $server = new FakeServer();
    (new Client($server->socket))->send('b', 'one');
    (new Client($server->socket))->send('b', 'two');
    same([frame('b', 'one'), frame('b', 'two')], $server->received());
});

test('Persistent: the daemon restarted between two requests', function (): void {
    $server = new FakeServer();
    (new Client($server->socket, persistent: true))->send('b', 'one');
    $server->kill();
    $server = new FakeServer();
    (new Client($server->socket, persistent: true))->send('b', 'two');
    endPersistent($server);
    same([frame('b', 'two')], $server->received());
});

test('Persistent: the daemon restarted between two sends of a request', function (): void {
    $server = new FakeServer();
    $client = new Client($server->socket, persistent: true);
    $client->send('b', 'one');
    $server->kill();
    $server = new FakeServer();
    $client->send('b', 'two');
    endPersistent($server);
    same([frame('b', 'two')], $server->received());
});

test('Persistent: a request that died in mid-frame leaves a connection that nobody goes on with', function (): void {
    $server = new FakeServer();
    dieInMidFrame($server);
    (new Client($server->socket, persistent: true))->send('b', 'whole');
    endPersistent($server);
    same([substr(frame('b', 'half of it'), 0, 9), frame('b', 'whole')], $server->received());
});

test('Persistent: a deadline in mid-frame closes the connection for real', function (): void {
    $server = new FakeServer(['read' => 'stuck']);
    $client = new Client($server->socket, persistent: true, deadlineMs: 50);
    throws(DeadlineExceeded::class, fn () => $client->send('b', str_repeat('m', 1_000_000)));
    (new Client($server->socket, persistent: true))->send('b', 'whole');
    endPersistent($server);
    $received = $server->received();
    same(2, count($received), 'connections');
    same(substr(frame('b', str_repeat('m', 1_000_000)), 0, strlen($received[0])), $received[0]);
    same(frame('b', 'whole'), $received[1]);
});

test('Persistent: a receipt that came too late is not read by the next request', function (): void {
    $server = new FakeServer(['read' => 'stuck']);
    $client = new Client($server->socket, persistent: true);
    $client->send('b', 'one');
    throws(DeadlineExceeded::class, fn () => $client->receipt(50));
    $server->read();
    $client = new Client($server->socket, persistent: true);
    $client->sendMany('b', ['two', 'three', 'four']);
    same(3, $client->receipt());
    endPersistent($server);
    same([frame('b', 'one') . reportQuestion(), frame('b', 'two') . frame('b', 'three') . frame('b', 'four') . reportQuestion()], $server->received());
});

test('Persistent: one client of the process may fail without breaking the other', function (): void {
    $server = new FakeServer(['answers' => false]);
    $one = new Client($server->socket, persistent: true);
    $other = new Client($server->socket, persistent: true);
    $one->send('b', 'one');
    $other->send('b', 'other');
    throws(DeadlineExceeded::class, fn () => $one->receipt(30));
    $other->send('b', 'goes on');
    endPersistent($server);
    same([frame('b', 'one') . frame('b', 'other') . reportQuestion(), frame('b', 'goes on')], $server->received());
});

test('Persistent: a receipt is for all frames of the connection, and one that an earlier request lost is told once', function (): void {
    $server = new FakeServer(['discards' => 1]);
    (new Client($server->socket, persistent: true))->send('b', 'of an earlier request');
    $client = new Client($server->socket, persistent: true);
    $client->send('b', 'one');
    $client->send('b', 'two');
    $error = throws(Discarded::class, fn () => $client->receipt());
    isTrue(str_contains($error->getMessage(), 'discarded 1 of 3 frame(s) of this connection (1 the topic is away)'), $error->getMessage());
    $server->kill();
    $server = new FakeServer();
    $client = new Client($server->socket, persistent: true);
    $client->send('b', 'three');
    same(1, $client->receipt());
    (new Client($server->socket, persistent: true))->send('b', 'four');
    $client = new Client($server->socket, persistent: true, confirm: true);
    $client->send('b', 'five');
    same(3, $client->receipt());
});

test('Persistent: a report counts earlier requests too', function (): void {
    $server = new FakeServer();
    (new Client($server->socket, persistent: true))->send('b', 'of an earlier request');
    $client = new Client($server->socket, persistent: true);
    $client->send('b', 'one');
    same(2, $client->report()['frames']);
});
