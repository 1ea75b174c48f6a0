<?php

/** Sends one message, waiting 200 ms at most. False: it was not sent. $bucket: 1 to 255 bytes, $key: 0 to 255. */
function kahe_send(string $bucket, string $message, string $key = '', string $socket = '/tmp/kahego.sock'): bool
{
    static $streams = [];
    $body = chr(strlen($bucket)) . $bucket . chr(strlen($key)) . $key . $message;
    [$left, $end] = [pack('V', strlen($body)) . $body, hrtime(true) + 200_000_000];
    is_resource($streams[$socket] ?? null) || $streams[$socket] = @stream_socket_client("unix://$socket", timeout: 0.2);
    $stream = $streams[$socket];
    while ($stream && $left !== '' && hrtime(true) < $end) {
        [$read, $write, $except] = [[], [$stream], []];
        stream_set_blocking($stream, false);
        $taken = stream_select($read, $write, $except, 0, 10_000) ? @fwrite($stream, $left) : 0;
        $left = substr($left, (int) $taken);
        if ($taken === false) break;
    }
    if ($stream && $left !== '') fclose($stream); // Never another frame after half of one.
    return $left === '';
}
