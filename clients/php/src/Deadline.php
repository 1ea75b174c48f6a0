<?php

declare(strict_types=1);

namespace Kahe;

/**
 * The time one call may spend waiting for the daemon, on the monotonic clock.
 *
 * @internal
 */
final class Deadline
{
    private int $endsNs;
    private int $pausedNs = 0;

    public function __construct(public readonly int $ms)
    {
        $this->endsNs = hrtime(true) + $ms * 1_000_000;
    }

    /** What happens until resume() is the application's time, not the daemon's. */
    public function pause(): void
    {
        $this->pausedNs = hrtime(true);
    }

    public function resume(): void
    {
        $this->endsNs += hrtime(true) - $this->pausedNs;
    }

    public function leftUs(): int
    {
        return max(0, intdiv($this->endsNs - hrtime(true), 1000));
    }

    public function isOver(): bool
    {
        return $this->leftUs() === 0;
    }
}
