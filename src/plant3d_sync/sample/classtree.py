"""The class tree of a P&ID project database, as text.

The names of some 700 classes and their own columns have been the same from release 2011 to 2025.
One class a line, children indented below it: `Name "Label" : own columns`. A column is a text of
255 characters unless its type says otherwise. A line starting with `-` lists leaf classes without
own columns; a line starting with `~` continues the line above.
"""

from __future__ import annotations

CLASS_TREE = """\
PnPBase : PnPClassName, PnPStatus<Int16>, PnPRevision<Int16>, PnPGuid<Guid>, PnPTimestamp<Int64>
  PnPDataLinks : RowId<Int32>, DwgId<Int32>, DwgHandleLow<Int32>, DwgHandleHigh<Int32>,
      ~ DwgSubIndex<Int32>, RowClassName
  PnPDrawings : PnPDrawingGuid<String40>, PnPParentGuid<String40>, PnPType<String40>,
      ~ PnPTimestampGuid<Guid>, PnID, [Dwg Name], Title, Path<String512>, PnPRelativePath<String512>,
      ~ PnPUnc<String512>, PnPPromptForTemplate<Boolean>, PnPTemplateFile<String512>,
      ~ PnPTemplateFileRelative<String512>, PnPTemplateFileUnc<String512>, PnPDwgOutOfSync<Boolean>,
      ~ Revision, Area, Author, Description
  PnPTagRegistries : Name
  PnPTagEnlistedColumns : TagRegistyName, TableName, ColumnName
  EngineeringItems : ClassName, Description, Manufacturer, ModelNumber, Supplier, Comment,
      ~ FlagValue<Int32>, AcquisitionProperties, Status, ParamOnLine<Double>
    Equipment : Tag, Type, EquipmentSpec, Weight, MaterialOfConstruction, Number, Area
      Blowers : FlowCapacity, Power
        - BlowerGeneral "General Blower", BlowerRadial "Radial Blower", CentrifugalBlower,
            ~ PositiveDisplacementBlower, BlowerAxial "Axial Blower"
      Compressors : FlowCapacity, Power
        - CentrifugalCompressor, DiaphragmCompressor, EjectorCompressor, GeneralCompressor,
            ~ LiquidRingCompressor, PositiveDisplacementCompressor, ReciprocatingCompressor,
            ~ RollerVaneCompressor, RotaryCompressor, ScrewCompressor, TurboCompressor,
            ~ ReciprocatingDiaphragmCompressor, RotaryPistonCompressor, TurboCompressorAxialFlow "Turbo
            ~ Axial Flow Compressor", TurboCompressorRadialFlow "Turbo Radial Flow Compressor",
            ~ ImpellerVanePitchAdjustmentDevice, GuideVanePitchAdjustmentDevice, RootsCompressor,
            ~ JetCompressor
      Conveyors : Length
        - BeltConveyor, BucketConveyor "Bucket Elevator", ChainConveyor, GeneralConveyor, ScrewConveyor,
            ~ VibratingConveyor, ReversingContinuousConveyor, SteelApronConveyor, BoxConveyor,
            ~ ScraperConveyor, TroughedChainConveyor
      Crushers : Volume
        - ConeCrusher, GeneralCrusher, GeneralCrushingMachine, GeneralMill, HammerCrusher, HammerMill,
            ~ ImpactCrusher, ImpactMill, JawCrusher, JetMill, RollerCrusher, RollerMill, VibrationMill,
            ~ BallMill, TubeMill
      Driers : Volume, DesignPressure, DesignTemperature, TransferArea, Insulation
        - DiskMovingShelfTurboDrier "Disk Drier", FluidizedBedDrier, GeneralDrier, OvenShelfDrier,
            ~ RollerConveyoryDrier "Roller-Conveyor Type Drier", RotaryDrumDrier, SprayDrier
      Filters : CartridgeType, Efficiency, Rating, DesignPressure, DesignTemperature, Insulation
        - ActivatedCarbonFilter, BeltFilterForFluids, BeltForGasesFilter "Belt Filter For Gases",
            ~ CartridgeFilter, CartridgeFilterForGases, CentrifugeGeneral "General Centrifuge",
            ~ DrumFilter, Filter, FixedBedFilter, GasAirFilter, GeneralGasAirFilter "General Gas or Air
            ~ Filter", GeneralScreeningDevice, GeneralSifter, GeneralSortingDevice, HEPAFilter,
            ~ IonExchangeFilter, LiquidFilter, PackedBedFilter, PerforatedShellCentrifuge, PressFilter,
            ~ PusherCentrifuge, RotarySeparator, ScrewTypeWithDecanterCentrifuge,
            ~ ScrewTypeWithPerforatedShellCentrifuge, Scrubber, SolidShellCentrifuge, SuctionFilter,
            ~ TwoScreensScreeningDevice, VacuumFilter, CycloneSeparator, DiskTypeSeparator,
            ~ DrySeparator, ElectromagneticSeparator, ElectrostaticPrecipitatorSeparator,
            ~ GeneralSeparator, GravitySettlingChamberSeparator, ImpactSeparator, ThickenerSeparator
            ~ "Thickener", VenturiSeparator, WetScrubberSeparator, GravelFilterClosedType "Closed Type
            ~ Gravel Filter", GravelFilterOpenType "Open Type Gravel Filter", MixedBedFilter,
            ~ ElectromagnetFilter, VesselBuiltInTricklingElementsAtRandom, GeneralStirrer,
            ~ SeparatorWithHeatExchange, FlashTrap, FineRack, DrumScreeningMachine,
            ~ BasketBandScreeningMachine, ProtectiveGrating, InsulatingSlabClosure
      Furnaces : Duty, DesignPressure, DesignTemperature, Height, Length, Insulation
        - BurnerFiringSystem, FileEvaporator, FiredHeater, Furnace, GasFlare, IndustrialFurnace,
            ~ RotaryKiln, SteamBoiler, GasGeneratingPlantGeneral "General Gas Generating Plant",
            ~ FuelDegasifier, FuelGasifier, CombustionChamber, HeatConsumerGeneral "General Heat
            ~ Consumer", HeatConsumerWithHeatingSurface, SootBlower, FiringGeneralBurnerGeneral "General
            ~ Firing Burner", SteamGeneratorSteamBoiler, SteamGeneratorHeatedByWasteHeat,
            ~ SteamGeneratorSuperheaterHeatedByWasteheat, SteamGeneratorElectricallyHeated,
            ~ SteamConverter, SteamConverterSteamHeated, SteamGeneratorHotWaterHeated,
            ~ SteamGeneratorLiquidMetalHeated, SteamGeneratorSuperheaterSteamBoilerSuperheater,
            ~ SteamGeneratorSuperheaterResuperheaterFluegasHeated, SteamGeneratorSuperheatergasFired,
            ~ SteamGeneratorSuperheateroilFired, SteamGeneratorSuperheaterpulverizedCoalFired,
            ~ SteamGeneratorSuperheaterPulverizedCoalFiringLiquidSlagRemoval,
            ~ SteamGeneratorSuperheaterStokerFiringCoalFired,
            ~ SteamGeneratorSuperheaterStokerFiringrefuseFired
      HeatExchangers : Duty, SurfaceArea, ShellDesignPressure, ShellDesignTemperature,
          ~ TubeDesignPressure, TubeDesignTemperature, TrimShell, TrimTube, InsulationType, Insulation,
          ~ MaterialOfConstructionShell, MaterialOfConstructionTube, FlowRate, Volume
        - AirCooledExchanger, DoubleHeatHeatExchanger, DoublePipeExchanger, Evaporator,
            ~ FinnedTubeHeatExchanger "Finned Exchanger", General2HeatExchanger "General Heat Exchanger
            ~ 2", GeneralCoolingTower, HeatingCooling, PlateAndFrameExchanger, PlateTypeHeatExchanger
            ~ "Plate-type Heat Exchanger", ShellAndTubeBundleHeatExchangerWithUTube "Shell and Tube
            ~ Bundle Heat Exchanger with U-tube", ShellTubeFloatingHeadHeatExchanger "Floating-head
            ~ Tube-bundle Heat Exchanger", ShellTubeHeatExchanger, SpiralHeatExchanger,
            ~ SprayCoolerHeatExchanger "Spray cooler", TEMATypeAEL "TEMA type AEL Exchanger",
            ~ TEMATypeAEM "TEMA type AEM Exchanger", TEMATypeBEM "TEMA type BEM Exchanger", TEMATypeBEU
            ~ "TEMA type BEU Exchanger", TEMATypeBKU "TEMA type BKU Exchanger", TEMATypeNEN "TEMA type
            ~ NEN Exchanger", TubeBundleFloatingHeadHeatExchanger "Tube-bundle Floating Head Heat
            ~ Exchanger", TubeBundleHeatExchangerWithUTube "Tube-bundle Heat Exchanger with U-Tube",
            ~ TubeCoilHeatExchanger "Heat Exchanger with Tube Coil",
            ~ SurfaceHeatExchangerCrossingMediaFlow, OilFiredBoilerWaterHeating,
            ~ WaterHeaterElectricallyHeated, SurfaceHeatExchangerFluegasHeated,
            ~ FeedwaterPreheaterHeatedByFlowingSteam, FeedwaterPreheaterHeatedByCondensingSteam,
            ~ CondensateCoolerWaterCooled, OilCoolerWaterCooled, AirPreheaterHeatedByFlueGas,
            ~ WaterPreheaterHeatedByWasteGas, CondenserWithWaterReCooling,
            ~ TurbineCondenserWithSplitWaterCircuits, HeatExchangerOperatingByMixingOfTheMedia,
            ~ SteamCoolerWithWaterInjection, InjectionCondenser, MixingPreheaterDeaerator,
            ~ WetCoolingTowerNaturalDraught, WetCoolingTowerInducedDraughtFan,
            ~ WetCoolingTowerForcedDraughtFan, DryCoolingTowerNaturalDraught,
            ~ DryCoolingTowerInducedDraughtFan, DryCoolingTowerForcedDraughtFan,
            ~ WetDryCoolingTowerNaturalDraught
        General1HeatExchanger "General Heat Exchanger 1"
      MechanicalDrivers : Voltage, Phase, Frequency, Speed, PowerRating, Certification, Frame
        - CombustionEngineDrive, DieselEngine, Gear, GeneralDrive, Motor, TurbineDriver,
            ~ CurrentGenerator, AlternatingCurrentGeneratorGeneral "General Alternating Current
            ~ Generator", DirectCurrentGeneratorGeneral "General Direct Current Generator",
            ~ DrivenMechanicalMachine, SteamTurbine, SteamTurbineWithExtractionNotControlled,
            ~ SteamTurbineWithControlledExtraction, DoubleFlowSteamTurbineWithCentralAdmission,
            ~ DoubleFlowSteamTurbineWithAdmissionBothEnds, GasTurbine, HydraulicTurbine,
            ~ DrivingEngineWithReciprocatingPistons, ReciprocatingSteamEngine,
            ~ DrivingEngineWithRotaryPiston, AlternatingCurrentMotorGeneral "General Alternating Current
            ~ Motor", DirectCurrentMotorGeneral "General Direct Current Motor"
        ElectricMotor
      MiscellaneousEquipment : DesignPressure, DesignTemperature, Height, Length, Volume, Insulation
        - BeltScale, BoxTruck, BulkStorage, CarTank, ElectrolysisCellGeneral "General Electrolysis
            ~ Cell", ExtruderShapingMachine, FluidDistributionDevice, GeneralCoarseningShapingMachine
            ~ "Shaping Machine - General Coarsening Device", GeneralHood, GeneralKneader, GeneralScale,
            ~ GeneralSolidsProportioner, IndustrialTruck, PackedTower, PelletizingDiskShapingMachine,
            ~ PistonPressShapingMachine, RollerPressShapingMachine, RollStand, RotaryTable,
            ~ RotaryValveFeeder, ScrewTypeExtruderShapingMachine, Ship, Silo, StackChimney,
            ~ WeighbridgeScale "Weighing Platform Floor Scale"
      MixingEquipment : Power, Driver
        - AnchorAgitator, BladeAgitator, CrossBeamAgitator, DiskAgitator, GatePaddleAgitator,
            ~ GeneralAgitator, GeneralMixer, HelicalAgitator, ImpellerAgitator, MixerAgitator,
            ~ PaddleAgitator "Flat-blade Paddle Agitator", PropellerAgitator, StaticMixer,
            ~ TurbineAgitator
      Pumps : FlowCapacity, Power, TotalDynamicHead, Voltage, Phase, Frequency, InsulationType,
          ~ Insulation
        - CentrifugalSumpPump, DiaphragmPump, GearPump, GeneralPump, HelicalRotorPump,
            ~ HorizontalCentrifugalPump, LiquidJetPump, LiquidRingVacuumPump, PositiveDisplacementPump,
            ~ ProgressiveCavityPump, ReciprocatingPump, ScrewPump, VerticalCanPump, VerticalInlinePump,
            ~ RotaryPistonPump, ElectromagneticPump
        CentrifugalPump
      Tanks : Diameter, Capacity, DesignPressure, DesignTemperature, Trim, InsulationType, Insulation,
          ~ Height, Width, OperatingPressure, OperatingTemperature, NumberOfTrays<Int32>
        - Bag, ConeRoofTank, ConicalBin, ConicalHeadsVessel, Container, CoolingTower, DishedHeadsVessel,
            ~ DistillationTower, DomeRoofTank, DoubleWallTank, ExternalFloatingRoofTank, FixedBedColumn,
            ~ FloatingRoofTank, FluidizedBedColumn, FullTubeCoilVessel, GasCylinder, GasHolder,
            ~ GeneralBasin, GeneralColumn, GeneralColumnWithTrays, GeneralVessel,
            ~ InternalFloatingRoofTank, JacketedVessel, OpenTopTank, Reactor, SemiTubeVessel "Semi-tube
            ~ coil vessel", Sphere, SphericalVessel, VesselWithPackedSection, VesselWithTrayedInternals,
            ~ WeightHopper, ChemicalTreatmentWater, WaterTreatmentTank, WaterTreatmentTankOpen,
            ~ WaterTreatmentTankOpenWithStirrer, WaterTreatmentTankOpenWithOverPressure,
            ~ RapidCleaningTank, MeteringDevice, VesselWithDishedEndsGeneral "General Vessel With Dished
            ~ Ends", VesselWithTaperedEnds, VesselWithPipeCoils, VesselWithTricklingDeaeration,
            ~ VesselTricklingDeaerationandSteamAdmissionBottom, VesselWithSprayDeaeration,
            ~ VesselWithSprayDeaerationAndSpraynozzles, GravityAccumulator, BarrelDrum
        Vessel
      NuclearReactors
        - NuclearReactorGeneral "General Nuclear Reactor", RepOperatingAreas, PressurizedWaterReactor,
            ~ BoilingWaterReactor, AdvancedGasCooledReactor, HighTemperatureReactor, FastBreederReactor
      EnergySymbols
        - MechanicalEnergy, PneumaticEnergy, HeatEnergy, SteamEnergy, WaterEnergy, ElectricEnergy,
            ~ HydraulicEnergy, LightEnergy, RadiationEnergy, IonizingRadiationEnergy
    InLineAssets : Size, Spec, [Spec Part], SpecPartGuid
      HandValves : Tag, ValveCode, Normally, Failure, EndConnections, Number, Code
        - AngleBallValve, AngleGlobeValve, BallValve, BreatherValve, ButterflyValve, CheckValve,
            ~ ContinuouslyOperatedValve, DiaphragmValve, DiverterValve, ExcessFlowValve, FourWayValve,
            ~ GateValve, GenericRotaryValve, GlobeValve, KnifeValve, LiftCheckValve, NeedleValve,
            ~ PinchValve, PlugValve, RotaryValve, StopCheckValve, SwingCheckValve, ThreeWayBallValve,
            ~ ThreeWayGlobeValve, ThreeWayValve, ValveGeneral "General Valve", StraightwayCheckValve,
            ~ ScrewdownStraightwayCheckValve, AngleCheckValve, ScrewdownAngleCheckValve, BallCheckValve,
            ~ StraightwayProgressiveAdjustment, AngleValveProgressiveAdjustmentCharacteristic,
            ~ BallFloatValve, HoseClamp, StraightwayPressureReducing,
            ~ StraightwayPressureReducingInjection, AnglePressureReducingInjection,
            ~ ThreewayPressureReducingInjection, GateValveprogressiveAdjustment "Gate Valve Pprogressive
            ~ Adjustment", ButterflyValveProgressiveAdjustmentCharacteristic, LouverDamper,
            ~ RollShutterDamper, FlowLimiterWithOrificePlate, InspectionGlass, MixingSection,
            ~ FreezingSection, CoolingSection, CoolingTrapGeneral "General Cooling Trap",
            ~ SoundAbsorberGeneral "General Sound Absorber", DetonationSafeguardPipelines,
            ~ FlashbackArrester, VapourTrapGeneral "General Vapour Trap"
        AngleValve
      PipingFittings
        - Blank, BlankWithFlanges, BlindDisk, BlindFlange, Cap, ChemicalSeal, ClosedFigure8Blind,
            ~ ClosedFigure8BlindWithFlanges, Coupling, Flange, HoseConnection, MixingNozzleInjector,
            ~ OpenFigure8Blind, OpenFigure8BlindWithFlanges, OrificePlate, Plug, SightGlass, Spacer,
            ~ SpacerWithFlanges, SpectacleBlind, Strainer, UndefinedInterlockLogic, WeldedConnection,
            ~ CouplingContinuouslyVariable, HydraulicCoupling, ElectromagneticCoupling, GearGeneral
            ~ "General Gear", PumpElectricMotorDriveGearboxTurboCoupling,
            ~ PumpElectricMotorDriveSpeedControlCouplingBoosterPump, BurstingDiscBurstingDiagphragm,
            ~ SteamTrapA
      PipingSpecialtyItems : Tag, Type, Number
        - BasketStrainer, Breather, Compensator, ConeStrainer, Damper, Desuperheater,
            ~ DetonationArrestor, DetonationProofFlameArrestor, DuplexStrainer, EjectorOrEductor
            ~ "Ejector / Eductor", ExhaustHead, ExpansionJoint, ExplosionProofFlameArrestor, FilterPipe
            ~ "Filter", FireResistantDetonationProofFlameArrestor, FireResistantFlameArrestor,
            ~ FlameArrestor, FlexibleHose, Funnel, InLineMixer, InLineSilencer, PipeConduitJacket,
            ~ PipeHeatingCooling, PipeHeatingCoolingInsulated, PipeInsulated, PulsationDamper,
            ~ RemovableSpool, Siphon, SteamTrap, TemporaryStrainer, TTypeStrainer "T-Type Strainer",
            ~ VentCover, VentSilencer, YTypeStrainer "Y-Type Strainer", DischargeFunnel, DrainPan,
            ~ DrainChannel, SprayNozzle, Suction, DischargeForGasSteam
      Reducers : Size2
        - ConcentricReducer, EccentricReducer, Reducer
    Instrumentation : Tag, Area, Type, LoopNumber, Location
      GeneralInstrumentSymbols
        - AuxiliaryAccessibleComputer, AuxiliaryInaccessibleComputer, AuxiliaryLocAccessibleDCS "Aux
            ~ Accessible DCS", AuxiliaryLocAccessibleDiscreteInstrument "Aux Accessible Discrete
            ~ Instrument", AuxiliaryLocAccessiblePLC "Aux Accessible PLC", AuxiliaryLocInaccessibleDCS
            ~ "Aux Inaccessible DCS", AuxiliaryLocInaccessibleDiscreteInstrument "Aux Inaccessible
            ~ Discrete Instrument", AuxiliaryLocInaccessiblePLC "Aux Inaccessible PLC",
            ~ FieldMountedComputer, FieldMountedDCS "Field DCS", FieldMountedDiscreteHardwareInterlock
            ~ "Discrete Hardware Interlock", FieldMountedDiscreteInstrument "Field Discrete Instrument",
            ~ FieldMountedPLC "Field PLC", PrimaryComputer, PrimaryInaccessibleComputer,
            ~ PrimaryLocAccessibleDCS "Primary Accessible DCS", PrimaryLocAccessibleDiscreteInstrument
            ~ "Primary Accessible Discrete Instrument", PrimaryLocAccessiblePLC "Primary Accessible
            ~ PLC", PrimaryLocInaccessibleDCS "Primary Inaccessible DCS",
            ~ PrimaryLocInaccessibleDiscreteInstrument "Primary Inaccessible Discrete Instrument",
            ~ PrimaryLocInaccessiblePLC "Primary Inaccessible PLC"
      InlineInstruments : Size, EndConnections
        - AveragingPitotTube, CornerTap, ElementWithInternalTransmitter, ElementWithTransmitter,
            ~ FloatTypeLevelIndicator, FlowConditioningDevice, FlowElement, FlowNozzle, FlowSwitch,
            ~ Flume, Glass, InstrumentWell, Magnetic, Orifice "Restriction Orifice",
            ~ OrificeInQuickChangeFitting, PitotTube, PositiveDisplacement, RestrictionOrifice,
            ~ Rotameter, RotameterWithIntegralValve "Integral Valve Rotameter",
            ~ SurfaceMountedTemperatureSensor, Target, TurbineOrPropeller "Turbine", Ultrasonic,
            ~ Venturi, VolumeMeter, Vortex, WedgeMeter, Weir, Controller, SignalLamp, AcousticSignal,
            ~ TelevisionCamera, Fault, EliminationOfFault, MeasuredValueIndicatorAnalogous,
            ~ MeasuredValueIndicatorAnalogousZeroAtCentre, MeasuredValueIndicatorAnalogousNegativeRange,
            ~ MeasuredValueIndicatorDigital, Recorder, GeneralCounter, Limiter, MaximumValueLimiter,
            ~ MinimumValueLimiter, Adjuster, ChangeOverDevice, LockingDevice, MainPulseIncrease,
            ~ MainPulseDecrease, LimitingPulseUpperLimitingValue, LimitingPulseLowerLimitingValue,
            ~ LimitingPulseClosesUpperLimitingValue, LimitingPulseClosesLowerLimitingValue,
            ~ FlowMeasurement, LevelMeasurement, HumidityMeasurement, PressureMeasurement,
            ~ pHValueMeasurement, ConductivityMeasurement, RadiationMeasurement,
            ~ LuminousRadiationMeasurement, IonizingradiationMeasurement, RotationalSpeedMeasurement,
            ~ TemperatureMeasurement, ExpansionMeasurement, VibrationMeasurement,
            ~ DetectorIonizingRadiationCountingTube, DetectorIonizingRadiationIonizationChamber
        ControlValve : ValveCode, Failure, BodyType, ActuatorType, Normally
        ReliefValves : ValveCode, Failure, SetPointType, SetPoint, Size2
          - AngleSafetyValve, AngleSpringSafetyValve, PilotOperatedReliefValve,
              ~ PressureAndVacuumReliefValve, PressureReliefManholeCover,
              ~ PressureReliefValveWithSolenoid, RuptureDisc "Rupture Disk",
              ~ RuptureDiscForPressureRelief, RuptureDiscForVacuumRelief, SafetyValve, VacuumReliefValve
          PressureReliefValve
    Lines
      PipeLines "Pipe Line Segments" : Tag, Size, Spec, Tracing, InsulationType, Insulation, PaintCode,
          ~ To, From, OperatingTemperature, OperatingPressure, DesignPressure, DesignTemperature,
          ~ TestingFluid, TestPressure, PostWeldHeatTreatment, [Spec Part], SpecPartGuid
        - ExistingPrimary "Primary Line Segment - Existing", ExistingSecondary "Secondary Line Segment -
            ~ Existing", Jacketed "Jacketed Pipe Segment", NewPrimary "Primary Line Segment - New",
            ~ NewSecondary "Secondary Line Segment - New", Primary "Primary Line Segment", Secondary
            ~ "Secondary Line Segment"
      SignalLines "Signal Line Segments" : Tag, From, To
        - CapillaryTube, Electrical "Electrical Signal Line", ElectromagneticSignal,
            ~ ElectromagneticSignalNotGuided "Electromagnetic Signal (Not Guided)", GeneralSignal,
            ~ Hydraulic "Hydraulic Signal Line", Leader, MechanicalLink, Pneumatic "Pneumatic Signal
            ~ Line", Radiation, Software "Software Signal Line", Tubing "Instrument Supply",
            ~ UndefinedSignal
    Nozzles : Tag, Type, Size, Spec, Number
      - AssumedNozzle, DoubleLineNozzle, FlangedNozzle, FrontFacingNozzle, SingleLineNozzle
  NonEngineeringItems : ClassName, Description, Comment, FlagValue<Int32>, AcquisitionProperties,
      ~ ParamOnLine<Double>
    - Annotation, FlowArrow, Flag, Gap
    Actuators
      - BackPressureRegulator, BackpressureRegulatorSelfContained,
          ~ BackpressureRegulatorWithExternalPressureTap, BackPressureRegulatorWithExternalTap,
          ~ CylinderOrPiston "Piston Actuator", Diaphragm "Diaphragm Actuator", DiaphragmSpring,
          ~ DifferentialPressureReducingregulator, Digital, ElectroHydraulic "Electro-Hydraulic",
          ~ HandWheelWithActuator "Hand Wheel Actuator", ManualOperator "Manual Actuator",
          ~ PositionerAndSolenoid, PressureBalancedDiaphragm "Pressure Balanced Diaphragm Actuator",
          ~ PressureReducingRegulator, PressureReducingRegulatorWithExternalTap,
          ~ PressureReducingRegulatorWithIntegralOutlet, RotaryMotor, Solenoid, SolenoidManualReset,
          ~ SolenoidRemoteReset, Spring, TemperatureRegulatorFilledSystemType, ThrottlingActuator,
          ~ VelocityIncreased, ValveWithMovementQuickBothDirections, ValveIndicationOfTheDirectionUp,
          ~ ValveIndicationOfTheDirectionDown, ValveWithRemainsPresetPosition,
          ~ ValveConnectionsOnValveBody, ValveConnectionForSealingMedia, ValveConnectionForSuction,
          ~ ConnectionForNonCirculatingCooling "Connection For Non-Circulating Cooling",
          ~ ValveStemPenetratingWall, ValveWithCoupling, ValveWithCouplinglocatedUnderFloor,
          ~ MotorActuated, FluidActuated, WeightForce, SafetyWeightLoaded, SafetySpringLoaded,
          ~ WeightAuxiliaryElectricMotor, SpringAuxiliarySolenoid, ElectricMotorAuxiliaryPiston,
          ~ ElectricMotorAuxiliaryActuator, ElectricMotorsQuickClosingActuator
    ClosedDrainNoPID : DestinationLineServiceCode
    Connectors : ConnectorNumber
      - UtilityConnector
      ClosedDrain : DestinationLineServiceCode
      InletOutletFlowArrow : OriginOrDestination
      LinesAndInstrumentSignalConnector : OriginOrDestination
      OffPageConnector : OriginOrDestination
      OpenDrain : DestinationLineServiceCode
    LineBreakers
      - GeneralLimit, SegmentBreaker
      Pins
        - OpenPin, ClosedPin
    OpenDrainNoPID : DestinationLineServiceCode
    TieInSymbol "Tie In" : TieInNumber
  PipeLineGroup "Pipe Line Groups" : Tag, LineNumber, Description, Service, NominalSize, NominalSpec,
      ~ Comment, AcquisitionProperties, Status
  SignalLineGroup "Signal Line Groups" : Description, Comment, AcquisitionProperties
  PnPWorkHistory : DwgGuid, HistoryGuid, Author, Startdate, Enddate, Status, Notes
  PnPPainterStyles : StyleName, ColorBy, StyleDecription, PropertyTableName
  PnPGlobalPainterStyle : CurrentStyle
  PnPPainterColorSettings : StyleName, PropValue, ColorValue, TransparencyValue<Double>
  PnPGeometry : DataLinksId<Int32>, Geometry, Scale, Normal, XAxis
  PnPProjectCategories : CategoryName, DisplayName
  PnPProject : Project_Name<String64000>, Project_Description<String64000>, Project_Number<String64000>,
      ~ Version<String64000>, Project_Standard<String64000>, ToolPaletteGroupName<String64000>,
      ~ ToolPaletteGroupNameForPiping<String64000>, Project_Data_Address<String64000>,
      ~ Project_Data_City<String64000>, Project_Data_State<String64000>, Project_Data_Zip<String64000>,
      ~ Project_Data_Telephone<String64000>, Project_Data_Project_Manager<String64000>,
      ~ Client_Information_Company_Name<String64000>, Client_Information_Primary_Contact<String64000>
  PnPDrawingCategories : CategoryName, DisplayName
  PnPPicklists : PicklistName, DisplayName, PicklistType, IsReadOnly<Boolean>
  PnPPicklistValues : PicklistValue, PicklistId<Int32>, PicklistValueDescription
  PnPProjectVariables : Name, Value
  PnPTagFormat : Name, Value, ClassName
  FileNameFormat : Name<String64000>, Type<String64000>, Length<Int32>, Delimiter<String64000>,
      ~ IsSelectionList<Boolean>
  PnPAutoGenProperties : PnPDrawingGuid, Name, Description, DisplayName, LastUsedValue<Int32>,
      ~ Increment<Int32>
  PnPDrawingCustomProperties : PnPDrawingGuid, Name, Description, Value
  PnPTagRegistry : Tag, RowId<Int32>
"""

# What this customer added in Project Setup. Property names should hold no blanks, some do
# all the same (the standard columns `Spec Part` and `Dwg Name` among them), and accents are common.
CUSTOM_CLASSES: tuple[tuple[str, str, str], ...] = (
    ("ACME_Hydrocyclone", "Filters", "Hydrocyclone"),
    ("ACME_Épaississeur", "Filters", "Épaississeur"),
)
CUSTOM_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("EngineeringItems", "ACME_Description", "Description ACME"),
    ("Equipment", "ACME_Rating", "Rating"),
    ("Equipment", "ACME N° série", "N° de série"),
    ("Instrumentation", "ACME_Range", "Range"),
    ("Instrumentation", "ACME_SetPoint", "Set Point"),
    ("HandValves", "ACME_Rating", "Rating"),
    ("HandValves", "ACME Matière", "Matière"),
    ("PipeLineGroup", "ACME_Désignation", "Désignation"),
)
CUSTOM_COLUMN_NAMES = frozenset(name for _, name, _ in CUSTOM_COLUMNS)

# Columns a project begun about 2010 does not have (it keeps the form it was created with).
ABSENT_IN_2010: dict[str, frozenset[str]] = {
    "EngineeringItems": frozenset({"Status", "ParamOnLine"}),
    "NonEngineeringItems": frozenset({"ParamOnLine"}),
    "InLineAssets": frozenset({"Spec Part", "SpecPartGuid"}),
    "PipeLines": frozenset({"Spec Part", "SpecPartGuid"}),
    "PipeLineGroup": frozenset({"Status"}),
    "SignalLines": frozenset({"From", "To"}),
    "ControlValve": frozenset({"Normally"}),
    "PnPDrawings": frozenset(
        {
            "PnPParentGuid",
            "PnPType",
            "PnPTimestampGuid",
            "PnPRelativePath",
            "PnPUnc",
            "PnPPromptForTemplate",
            "PnPTemplateFile",
            "PnPTemplateFileRelative",
            "PnPTemplateFileUnc",
            "PnPDwgOutOfSync",
            "Area",
            "Author",
            "Description",
        }
    ),
}
ABSENT_CLASSES_IN_2010 = frozenset(
    {"RestrictionOrifice", "PnPProjectVariables", "PnPDrawingCustomProperties"}
)
