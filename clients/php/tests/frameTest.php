<?php

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Frame;
use Kahe\InvalidFrame;

test('Frame: is drawn as the design draws it', function (): void {
    same('0a000000' . '03' . '6c6f67' . '01' . '6b' . '68656c6c', bin2hex(Frame::encode('log', 'k', 'hell')));
});

test('Frame: a null key and an empty key are no key', function (): void {
    same("\x04\0\0\0\x01b\0m", Frame::encode('b', null, 'm'));
    same("\x04\0\0\0\x01b\0m", Frame::encode('b', '', 'm'));
});

test("Frame: '0' is a bucket, a key and a message like any other", function (): void {
    same("\x05\0\0\0\x010\x0100", Frame::encode('0', '0', '0'));
});

test('Frame: an empty message is allowed', function (): void {
    same("\x03\0\0\0\x01b\0", Frame::encode('b', null, ''));
});

test('Frame: bucket and key of 255 bytes fit, bytes of any value too', function (): void {
    $name = str_repeat("\xff\0é", 63) . 'abc';
    same(255, strlen($name));
    same(frame($name, "\0\1\2", $name), Frame::encode($name, $name, "\0\1\2"));
});

test('Frame: an empty bucket is refused', function (): void {
    throws(InvalidFrame::class, fn () => Frame::encode('', null, 'm'));
});

test('Frame: a bucket or key of 256 bytes is refused', function (): void {
    $error = throws(InvalidFrame::class, fn () => Frame::encode(str_repeat('b', 256), null, 'm'));
    isTrue(str_contains($error->getMessage(), 'bucket') && str_contains($error->getMessage(), '256'), 'the message names it');
    $error = throws(InvalidFrame::class, fn () => Frame::encode('b', str_repeat('k', 256), 'm'));
    isTrue(str_contains($error->getMessage(), 'key'), 'the message names it');
});

test('Frame: the body may be as large as the limit, and no larger', function (): void {
    same(4 + 10, strlen(Frame::encode('b', null, str_repeat('m', 7), 10)));
    throws(InvalidFrame::class, fn () => Frame::encode('b', null, str_repeat('m', 8), 10));
    throws(InvalidFrame::class, fn () => Frame::encode('b', null, str_repeat('m', Frame::MAX_BYTES)));
});

test('Frame: finds where the cut frame begins', function (): void {
    $frames = frame('a', '1') . frame('b', '22') . frame('c', '333');
    $ends = [0, 8, 17, 27];
    for ($written = 0; $written <= strlen($frames); $written++) {
        same(max(array_filter($ends, fn (int $end): bool => $end <= $written)), Frame::wholeBytes($frames, $written), "after $written");
    }
    same(3, Frame::count($frames));
});

test('Frame: sorts frames into buckets in order', function (): void {
    $frames = frame('a', '1') . frame('7', '2') . frame('a', '3', 'k');
    same([
        ['bucket' => 'a', 'frames' => frame('a', '1') . frame('a', '3', 'k')],
        ['bucket' => '7', 'frames' => frame('7', '2')],
    ], Frame::byBucket($frames));
});
