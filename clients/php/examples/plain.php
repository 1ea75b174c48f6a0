<?php

/** Sends one message, waiting 200 ms at most. False: it was not sent. $bucket: 1 to 255 bytes, $key: 0 to 255. */
function kahe_send(string $bucket, string $message, string $key = '', string $socket = '/tmp/kahego.sock'): bool
{
    static $streams = [];
    $stream = &$streams[$socket];
    $body = chr(strlen($bucket)) . $bucket . chr(strlen($key)) . $key . $message;
    [$left, $end] = [pack('V', strlen($body)) . $body, hrtime(true) + 200_000_000];
    set_error_handler(fn () => true); // The application's own may throw.
    try {
        while (!is_resource($stream)) {
            $stream = stream_socket_client("unix://$socket", $code, $reason, 0.2);
            if (!$stream && (!in_array($code, [11, 35]) || hrtime(true) >= $end)) return false;
            $stream || usleep(2_000); // EAGAIN: too many connect at this moment.
        }
        stream_set_blocking($stream, false);
        while (($taken = fwrite($stream, $left)) !== false) {
            $left = substr($left, $taken);
            if ($left === '' || hrtime(true) >= $end) break;
            [$read, $write, $except] = [[], [$stream], []];
            stream_select($read, $write, $except, 0, 10_000);
        }
    } finally {
        restore_error_handler();
        if (is_resource($stream) && $left !== '') fclose($stream); // Never another frame after half of one.
    }
    return $left === '';
}
