<?php

declare(strict_types=1);

namespace Kahe;

/**
 * The frame on the socket, and in `.bckstm` files:
 *
 *     u32 LE  length N of what follows
 *     u8      bucketLength   | bucket bytes
 *     u8      keyLength      | key bytes (0: no key)
 *     message                | the remaining N - 2 - bucketLength - keyLength bytes, may be empty
 *
 * Several frames are kept as one string, one frame after another; the functions here that read such a string
 * trust it, as it was made by encode().
 */
final class Frame
{
    /** The daemon's default MAXFRAME: the largest N, in bytes. */
    public const MAX_BYTES = 16 * 1024 * 1024;

    /** A frame of N = 0 asks for a receipt. */
    public const RECEIPT = "\0\0\0\0";

    private const PREFIX_BYTES = 4;

    /**
     * @param string      $bucket   1 to 255 bytes
     * @param string|null $key      up to 255 bytes; null and '' both mean no key, '0' is a key like any other
     * @param int         $maxBytes the largest body, without the length prefix
     *
     * @throws InvalidFrame
     */
    public static function encode(string $bucket, ?string $key, string $message, int $maxBytes = self::MAX_BYTES): string
    {
        $key ??= '';
        if ($bucket === '') {
            throw new InvalidFrame('The bucket is empty: pass the name of a bucket, 1 to 255 bytes.');
        }
        self::checkName('bucket', $bucket);
        self::checkName('key', $key);
        $bytes = 2 + strlen($bucket) + strlen($key) + strlen($message);
        if ($bytes > $maxBytes) {
            throw new InvalidFrame(
                "The frame for bucket '" . self::shown($bucket) . "' is $bytes bytes, more than maxFrame ($maxBytes):"
                . " send a smaller message, or raise maxFrame here and MAXFRAME at the daemon."
            );
        }

        return pack('VC', $bytes, strlen($bucket)) . $bucket . chr(strlen($key)) . $key . $message;
    }

    /** How many frames these are. */
    public static function count(string $frames): int
    {
        $count = 0;
        for ($at = 0; $at < strlen($frames); $at += self::bytesAt($frames, $at)) {
            $count++;
        }

        return $count;
    }

    /** How many of the first $written bytes are whole frames: where a cut frame begins. */
    public static function wholeBytes(string $frames, int $written): int
    {
        $at = 0;
        while ($at < strlen($frames) && $at + self::bytesAt($frames, $at) <= $written) {
            $at += self::bytesAt($frames, $at);
        }

        return $at;
    }

    /**
     * The same frames, sorted into buckets; within a bucket the order is kept.
     *
     * @return array<array{bucket: string, frames: string}>
     */
    public static function byBucket(string $frames): array
    {
        $groups = [];
        for ($at = 0; $at < strlen($frames); $at += $bytes) {
            $bytes = self::bytesAt($frames, $at);
            $bucket = substr($frames, $at + self::PREFIX_BYTES + 1, ord($frames[$at + self::PREFIX_BYTES]));
            // PHP turns an array key such as '7' into an integer, so the name is kept beside it.
            $groups[$bucket] ??= ['bucket' => $bucket, 'frames' => ''];
            $groups[$bucket]['frames'] .= substr($frames, $at, $bytes);
        }

        return array_values($groups);
    }

    private static function bytesAt(string $frames, int $at): int
    {
        return self::PREFIX_BYTES + unpack('V', $frames, $at)[1];
    }

    private static function checkName(string $what, string $name): void
    {
        if (strlen($name) > 255) {
            throw new InvalidFrame(
                "The $what '" . self::shown($name) . "' is " . strlen($name) . ' bytes: a frame has room for 255.'
            );
        }
    }

    private static function shown(string $name): string
    {
        return strlen($name) > 40 ? addcslashes(substr($name, 0, 40), "\0..\37\177..\377") . '…' : addcslashes($name, "\0..\37\177..\377");
    }
}
