<?php

declare(strict_types=1);

namespace Kahe;

/**
 * What went wrong on the socket, between Connection and Client. The connection is already closed when this is thrown.
 *
 * @internal Client turns it into NotSent or into a fallback file.
 */
final class ConnectionFailed extends \Exception
{
    /** Nobody listens: trying again at once is useless. */
    public const AWAY = 'away';
    /** The deadline passed. */
    public const LATE = 'late';
    /** The connection broke, as it does when the daemon restarts: a new one may work. */
    public const LOST = 'lost';
    /** The daemon answered, and it did not keep all frames. */
    public const DISCARDED = 'discarded';

    /**
     * @param self::AWAY|self::LATE|self::LOST|self::DISCARDED $kind
     * @param int $written bytes of the failed write that the kernel took
     */
    public function __construct(public readonly string $kind, string $message, public readonly int $written = 0)
    {
        parent::__construct($message);
    }
}
