namespace BuildRunner.Bench;

/// <summary>What happens to the primary while clients write.</summary>
internal enum RecoveryCase
{
    /// <summary>A person moves it while all is well.</summary>
    Switchover,

    /// <summary>The same while four clients load rows in transactions well under 300 ms.</summary>
    SwitchoverLoad,

    /// <summary>`kill -9` of everything on its host; nobody acts.</summary>
    HostLoss,

    /// <summary>The same, after its copies received nothing for two seconds.</summary>
    Stalled,
}
