<?php

declare(strict_types=1);

namespace Kahe;

/** Frames that did not reach the daemon, or that it did not confirm. The exception hands them back. */
class NotSent extends Exception
{
    /**
     * @param string $frames whole encoded frames, one after another, as in a `.bckstm` file; '' when the client
     *                       no longer holds them (a receipt that did not come, without the option `confirm`)
     */
    public function __construct(string $message, public readonly string $frames, ?\Throwable $previous = null)
    {
        parent::__construct($message, 0, $previous);
    }
}
