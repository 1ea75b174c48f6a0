<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Client;
use Kahe\FallbackFailed;
use Kahe\Frame;

// The shell's limit is in blocks of 512 or 1024 bytes; a write beyond it is cut short, as on a full disk.
const FULL_DISK = "trap '' XFSZ; ulimit -f 8;";

test('Fallback: the frames of an outage are in one file per bucket, as plain frames', function (): void {
    $client = new Client(folder() . '/nobody.sock', fallbackDir: folder() . '/deep/fallback');
    $client->send('requests', 'one', '0');
    $client->send('other', 'two');
    $client->sendMany('requests', ['three', 'four']);
    (new Client(folder() . '/nobody.sock', fallbackDir: folder() . '/deep/fallback'))->send('requests', 'next request');
    same(4, $client->framesInFallback());
    same(0, $client->framesSent());
    [$other, $requests] = filesIn(folder() . '/deep/fallback');
    same(1, preg_match('/^other-' . getmypid() . '-[0-9a-f]{8}\.bckstm$/D', $other));
    same(1, preg_match('/^requests-' . getmypid() . '-[0-9a-f]{8}\.bckstm$/D', $requests));
    same(frame('other', 'two'), file_get_contents(folder() . "/deep/fallback/$other"));
    same(
        frame('requests', 'one', '0') . frame('requests', 'three') . frame('requests', 'four') . frame('requests', 'next request'),
        file_get_contents(folder() . "/deep/fallback/$requests"),
    );
});

test('Fallback: the folder is 0750 and the files 0640, and the umask is left as it was', function (): void {
    $umask = umask(0);
    try {
        (new Client(folder() . '/nobody.sock', fallbackDir: folder() . '/fallback'))->send('b', 'm');
        same(0, umask(), 'umask');
    } finally {
        umask($umask);
    }
    $file = folder() . '/fallback/' . filesIn(folder() . '/fallback')[0];
    same('750', decoct(fileperms(folder() . '/fallback') & 07777));
    same('640', decoct(fileperms($file) & 07777));
});

test('Fallback: a new file is in the error log, once', function (): void {
    $client = new Client(folder() . '/nobody.sock', fallbackDir: folder() . '/fallback');
    $client->send('b', 'm');
    $client->send('b', 'm');
    same(1, substr_count(errorLog(), '.bckstm'));
});

test('Fallback: no bucket name becomes a path', function (): void {
    $buckets = ['../../escape', '/etc/passwd', '.', '..', '.hidden', "nul\0byte", "new\nline", 'ünï', str_repeat('/', 255), str_repeat('a', 255), '-', '%2F'];
    $client = new Client(folder() . '/nobody.sock', fallbackDir: folder() . '/a/b/fallback');
    foreach ($buckets as $bucket) {
        $client->send($bucket, 'm');
    }
    same(['b'], filesIn(folder() . '/a'));
    same(['fallback'], filesIn(folder() . '/a/b'));
    $files = filesIn(folder() . '/a/b/fallback');
    same(count($buckets), count($files), 'one file each');
    foreach ($files as $file) {
        same(1, preg_match('/^[A-Za-z0-9_%-]+(~[0-9a-f]{8})?-\d+-[0-9a-f]{8}\.bckstm$/D', $file), $file);
    }
    same(count($buckets), Frame::count(contentsOf(folder() . '/a/b/fallback')));
});

test('Fallback: after a deadline the cut frame is there whole, and together every frame arrives once', function (): void {
    $server = new FakeServer(['read' => 'stuck']);
    $client = new Client($server->socket, deadlineMs: 60, bufferBytes: 1_000_000, fallbackDir: folder() . '/fallback', retryAfterMs: 60_000);
    $messages = array_map(fn (int $i): string => "$i " . str_repeat('m', 9_000), range(1, 300));
    same(300, $client->sendMany('b', $messages));
    $client->send('b', 'last');
    $client->flush();
    same(301, $client->framesSent() + $client->framesInFallback());
    isTrue($client->framesSent() > 0, 'some were sent');
    $client->close();
    $all = implode('', array_map(fn (string $message): string => frame('b', $message), [...$messages, 'last']));
    [$received] = $server->received();
    $whole = Frame::wholeBytes($all, strlen($received));
    isTrue($whole < strlen($received), 'a frame was cut');
    same(md5(substr($all, $whole)), md5(contentsOf(folder() . '/fallback')));
});

test('Fallback: a connection that breaks in mid-frame', function (): void {
    $server = new FakeServer(['closeAfter' => 300_000]);
    $client = new Client($server->socket, deadlineMs: LONG_MS, fallbackDir: folder() . '/fallback');
    $client->send('b', 'first');
    $client->send('b', $big = str_repeat('m', 900_000));
    $client->close();
    same(md5(frame('b', $big)), md5(contentsOf(folder() . '/fallback')));
    same(1, $client->framesSent());
});

test('Fallback: a file that was moved away for replay is left alone', function (): void {
    $fallback = folder() . '/fallback';
    $client = new Client(folder() . '/nobody.sock', fallbackDir: $fallback);
    $client->send('b', 'one');
    rename("$fallback/" . filesIn($fallback)[0], folder() . '/replaying');
    $client->send('b', 'two');
    same(frame('b', 'one'), file_get_contents(folder() . '/replaying'));
    same(frame('b', 'two'), contentsOf($fallback));
});

test('Fallback: a file that is locked for replay does not hold the request, a new one is begun', function (): void {
    $fallback = folder() . '/fallback';
    $client = new Client(folder() . '/nobody.sock', fallbackDir: $fallback);
    $client->send('b', 'one');
    $path = "$fallback/" . filesIn($fallback)[0];
    $replay = fopen($path, 'r');
    flock($replay, LOCK_EX);
    $client->send('b', 'two');
    same(frame('b', 'one'), stream_get_contents($replay));
    unlink($path);
    same(frame('b', 'two'), contentsOf($fallback));
});

test('Fallback: frames survive an operator who moves, locks, reads and removes all the time', function (): void {
    $script = folder() . '/writer.php';
    file_put_contents($script, '<?php require ' . var_export(dirname(__DIR__) . '/autoload.php', true) . ';
        $client = new Kahe\Client("/nonexistent.sock", fallbackDir: $argv[1]);
        for ($i = 0; $i < 3000; $i++) { $client->send("b", "$i"); }');
    $writers = array_map(fn () => proc_open([PHP_BINARY, '-d', 'error_log=' . folder() . '/writers.log', $script, folder() . '/fallback'], [], $pipes), range(1, 3));
    $replayed = '';
    do {
        $isWriting = array_filter($writers, fn ($writer): bool => proc_get_status($writer)['running']) !== [];
        foreach (filesIn(folder() . '/fallback') as $name) {
            rename(folder() . "/fallback/$name", folder() . '/replaying');
            $file = fopen(folder() . '/replaying', 'r');
            flock($file, LOCK_EX);
            $replayed .= stream_get_contents($file);
            unlink(folder() . '/replaying');
            fclose($file);
        }
    } while ($isWriting);
    same(9000, Frame::count($replayed), 'frames');
});

test('Fallback: a link in the place of the file is not followed', function (): void {
    $fallback = folder() . '/fallback';
    $client = new Client(folder() . '/nobody.sock', fallbackDir: $fallback);
    $client->send('b', 'one');
    $name = filesIn($fallback)[0];
    unlink("$fallback/$name");
    symlink(folder() . '/target', "$fallback/$name");
    $error = throws(FallbackFailed::class, fn () => $client->send('b', 'two'));
    same(frame('b', 'two'), $error->frames);
    same(false, file_exists(folder() . '/target'));
});

test('Fallback: when the folder cannot be made the frames come back', function (): void {
    touch(folder() . '/file');
    $client = new Client(folder() . '/nobody.sock', fallbackDir: folder() . '/file/fallback');
    $error = throws(FallbackFailed::class, fn () => $client->sendMany('b', ['one', 'two']));
    same(frame('b', 'one') . frame('b', 'two'), $error->frames);
    isTrue(str_contains($error->getMessage(), folder() . '/file/fallback'), 'the message names the folder');
    same(0, $client->framesInFallback());
});

test('Fallback: a full disk leaves no torn frame, and the frames come back', function (): void {
    $run = inProcess('
        $client = new Kahe\Client("$folder/nobody.sock", fallbackDir: "$folder/fallback");
        $client->send("b", "fits");
        try {
            $client->send("b", str_repeat("m", 50_000));
        } catch (Kahe\FallbackFailed $error) {
            echo Kahe\Frame::count($error->frames), " ", $client->framesInFallback(), " ", $error->getMessage(), " ";
        }
        $client->send("b", "fits again");
        echo $client->framesInFallback();
    ', FULL_DISK);
    same(1, preg_match('/^1 1 .*File too large.* and was cut back\. .* 2$/D', $run['output']), $run['output']);
    same(frame('b', 'fits') . frame('b', 'fits again'), contentsOf(folder() . '/fallback'));
});

test('Fallback: half a frame that cannot be cut off is never followed by another', function (): void {
    $run = inProcess('
        eval("namespace Kahe; function ftruncate() { return false; }");
        $client = new Kahe\Client("$folder/nobody.sock", fallbackDir: "$folder/fallback");
        $client->send("b", "fits");
        try {
            $client->send("b", str_repeat("m", 50_000));
        } catch (Kahe\FallbackFailed $error) {
            echo $error->getMessage();
        }
        $client->send("b", "next");
    ', FULL_DISK);
    [$torn, $next] = filesIn(folder() . '/fallback');
    isTrue(str_contains($run['output'], "it is " . folder() . "/fallback/$torn now, and ends in half a frame"), $run['output']);
    isTrue(str_starts_with(file_get_contents(folder() . "/fallback/$torn"), frame('b', 'fits')), 'what was whole is kept');
    same(frame('b', 'next'), file_get_contents(folder() . "/fallback/$next"));
});

test('Fallback: many processes at once keep their frames whole', function (): void {
    $code = '$client = new Kahe\Client("$folder/nobody.sock", fallbackDir: "$folder/fallback");
        for ($i = 0; $i < 200; $i++) { $client->send("b", str_repeat("m", 3000)); }';
    $script = folder() . '/many.php';
    file_put_contents($script, '<?php require ' . var_export(dirname(__DIR__) . '/autoload.php', true) . '; $folder = ' . var_export(folder(), true) . ";\n$code");
    $processes = array_map(fn () => proc_open([PHP_BINARY, '-d', 'error_log=/dev/null', $script], [], $pipes), range(1, 4));
    array_map(proc_close(...), $processes);
    same(4, count(filesIn(folder() . '/fallback')));
    same(str_repeat(frame('b', str_repeat('m', 3000)), 800), contentsOf(folder() . '/fallback'));
});
